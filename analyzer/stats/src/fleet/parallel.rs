//! The same function over many indices on several threads, results in the order of the indices.

use std::thread;

/// `work(0)` to `work(n - 1)`. Each result depends on its index alone, so the number of threads
/// changes nothing but the time.
pub(super) fn map<T: Send>(threads: usize, n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = threads.clamp(1, n.max(1));
    if threads == 1 {
        return (0..n).map(work).collect();
    }
    let work = &work;
    // Thread k takes the indices k, k + threads, …: neighbours cost alike, so the shares do too.
    let mut shares: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|k| scope.spawn(move || (k..n).step_by(threads).map(work).collect::<Vec<T>>()))
            .collect();
        handles
            .into_iter()
            .map(|handle| match handle.join() {
                Ok(share) => share.into_iter(),
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    (0..n).filter_map(|i| shares[i % threads].next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_on_any_number_of_threads() {
        for n in [0, 1, 2, 7, 100] {
            let want: Vec<usize> = (0..n).map(|i| i * i).collect();
            for threads in [0, 1, 2, 3, 8, 200] {
                assert_eq!(map(threads, n, |i| i * i), want);
            }
        }
    }
}
