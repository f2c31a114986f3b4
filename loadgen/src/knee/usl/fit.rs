//! Nonlinear least squares for the law by the method of Levenberg (1944) and Marquardt (1963), with
//! parameters kept from becoming negative. Three parameters need no linear algebra from elsewhere.

/// The law with all its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Law {
    pub(in super::super) lambda: f64,
    pub(in super::super) sigma: f64,
    pub(in super::super) kappa: f64,
}

/// What the law is fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observation {
    pub(super) concurrency: f64,
    pub(super) throughput: f64,
    /// Standard error, up to a factor that all share.
    pub(super) error: f64,
}

type Vector = [f64; 3];

impl Law {
    pub(super) fn throughput(&self, n: f64) -> f64 {
        self.lambda * n / self.denominator(n)
    }

    /// dX/dN.
    pub(super) fn slope(&self, n: f64) -> f64 {
        self.lambda * (1.0 - self.sigma - self.kappa * n * n) / self.denominator(n).powi(2)
    }

    /// √((1 − σ) / κ), infinite without κ.
    pub(super) fn peak(&self) -> f64 {
        if self.kappa > 0.0 {
            ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt()
        } else {
            f64::INFINITY
        }
    }

    /// The smaller root of κx·N² + (σx − κx − λ)·N + x(1 − σ) = 0.
    pub(super) fn concurrency(&self, x: f64) -> Option<f64> {
        let a = self.kappa * x;
        let b = self.sigma * x - a - self.lambda;
        let c = x * (1.0 - self.sigma);
        let inside = b * b - 4.0 * a * c;
        if inside < 0.0 || b >= 0.0 {
            return None;
        }
        // This form does not cancel for a small a.
        Some(2.0 * c / (-b + inside.sqrt())).filter(|n| n.is_finite() && *n >= 0.0)
    }

    fn denominator(&self, n: f64) -> f64 {
        // Below a concurrency of 1 extreme parameters could make it vanish.
        (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0)).max(1e-9)
    }

    fn gradient(&self, n: f64) -> Vector {
        let denominator = self.denominator(n);
        let common = -self.lambda * n / denominator.powi(2);
        [n / denominator, common * (n - 1.0), common * n * (n - 1.0)]
    }

    fn parameters(&self) -> Vector {
        [self.lambda, self.sigma, self.kappa]
    }

    fn from_parameters([lambda, sigma, kappa]: Vector) -> Self {
        Self {
            lambda,
            sigma,
            kappa,
        }
    }

    fn cost(&self, observations: &[Observation]) -> f64 {
        let square = |it: &Observation| {
            ((it.throughput - self.throughput(it.concurrency)) / it.error).powi(2)
        };
        observations.iter().map(square).sum()
    }
}

/// The law of least squares. Without a law to start from, that of the linearised form.
pub(super) fn fit(observations: &[Observation], start: Option<Law>) -> Option<Law> {
    const ROUNDS: usize = 60;
    const SETTLED: f64 = 1e-8;
    const MOST_DAMPING: f64 = 1e8;
    let mut law = start.map_or_else(|| linearised(observations), Some)?;
    let mut cost = law.cost(observations);
    let mut damping = 1e-3;
    for _ in 0..ROUNDS {
        let (matrix, gradient) = normal_equations(&law, observations);
        let mut has_improved = false;
        while damping < MOST_DAMPING {
            let Some(next) = step(&law, &matrix, &gradient, damping) else {
                damping *= 10.0;
                continue;
            };
            let next_cost = next.cost(observations);
            if next_cost <= cost {
                has_improved = cost - next_cost > SETTLED * cost;
                (law, cost) = (next, next_cost);
                damping = (damping / 10.0).max(1e-12);
                break;
            }
            damping *= 10.0;
        }
        if !has_improved {
            break;
        }
    }
    let is_law = law.parameters().iter().all(|it| it.is_finite()) && law.lambda > 0.0;
    is_law.then_some(law)
}

/// N/X is linear in N and N²: a + bN + cN², with κ = cλ, σ = (b + c)λ and λ = 1 / (a + b + c).
fn linearised(observations: &[Observation]) -> Option<Law> {
    let mut matrix = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for it in observations.iter().filter(|it| it.throughput > 0.0) {
        let n = it.concurrency;
        let basis = [1.0, n, n * n];
        // The relative errors of N/X are alike, so each equation is divided by its value.
        let weight = (it.throughput / n.max(1e-12)).powi(2);
        for row in 0..3 {
            right[row] += weight * basis[row] * n / it.throughput;
            for column in 0..3 {
                matrix[row][column] += weight * basis[row] * basis[column];
            }
        }
    }
    let slowest = observations
        .iter()
        .map(|it| it.throughput / it.concurrency.max(1e-12));
    let fallback = Law {
        lambda: slowest.fold(0.0, f64::max),
        sigma: 0.01,
        kappa: 1e-5,
    };
    let law = solve(matrix, right)
        .map(|[a, b, c]| {
            let lambda = 1.0 / (a + b + c);
            Law {
                lambda,
                sigma: ((b + c) * lambda).max(0.0),
                kappa: (c * lambda).max(0.0),
            }
        })
        .filter(|law| law.lambda.is_finite() && law.lambda > 0.0 && law.sigma < 1.0)
        .unwrap_or(fallback);
    (law.lambda > 0.0 && law.lambda.is_finite()).then_some(law)
}

fn normal_equations(law: &Law, observations: &[Observation]) -> ([Vector; 3], Vector) {
    let mut matrix = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for it in observations {
        let gradient = law.gradient(it.concurrency).map(|slope| slope / it.error);
        let residual = (it.throughput - law.throughput(it.concurrency)) / it.error;
        for row in 0..3 {
            right[row] += gradient[row] * residual;
            for column in 0..3 {
                matrix[row][column] += gradient[row] * gradient[column];
            }
        }
    }
    (matrix, right)
}

/// One damped step. A parameter at 0 that would go below it stays there and leaves the equations,
/// so that the others find their best without it.
fn step(law: &Law, matrix: &[Vector; 3], gradient: &Vector, damping: f64) -> Option<Law> {
    let at = law.parameters();
    let mut is_held = [false; 3];
    for (index, held) in is_held.iter_mut().enumerate() {
        *held = at[index] <= 0.0 && gradient[index] < 0.0;
    }
    let mut damped = *matrix;
    let mut right = *gradient;
    for row in 0..3 {
        damped[row][row] += damping * matrix[row][row].max(1e-300);
        if is_held[row] {
            right[row] = 0.0;
            damped[row] = [0.0; 3];
            damped.iter_mut().for_each(|other| other[row] = 0.0);
            damped[row][row] = 1.0;
        }
    }
    let change = solve(damped, right)?;
    let moved = [at[0] + change[0], at[1] + change[1], at[2] + change[2]];
    moved
        .iter()
        .all(|it| it.is_finite())
        .then(|| Law::from_parameters(moved.map(|it| it.max(0.0))))
}

/// Solves a symmetric positive system after scaling its diagonal to 1, by elimination with pivots.
fn solve(mut matrix: [Vector; 3], mut right: Vector) -> Option<Vector> {
    let mut scale = [0.0; 3];
    for index in 0..3 {
        if matrix[index][index] <= 0.0 {
            return None;
        }
        scale[index] = matrix[index][index].sqrt();
    }
    for row in 0..3 {
        right[row] /= scale[row];
        for column in 0..3 {
            matrix[row][column] /= scale[row] * scale[column];
        }
    }
    for column in 0..3 {
        let pivot = (column..3)
            .max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))
            .filter(|&row| matrix[row][column].abs() > 1e-14)?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..3 {
            let factor = matrix[row][column] / matrix[column][column];
            let above = matrix[column];
            matrix[row]
                .iter_mut()
                .zip(above)
                .for_each(|(it, from)| *it -= factor * from);
            right[row] -= factor * right[column];
        }
    }
    let mut found = [0.0; 3];
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3)
            .map(|column| matrix[row][column] * found[column])
            .sum();
        found[row] = (right[row] - known) / matrix[row][row];
    }
    Some([
        found[0] / scale[0],
        found[1] / scale[1],
        found[2] / scale[2],
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observe(law: &Law, at: &[f64]) -> Vec<Observation> {
        at.iter()
            .map(|&n| Observation {
                concurrency: n,
                throughput: law.throughput(n),
                error: law.throughput(n) * 0.01,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn exact_points_give_the_law_back(lambda in 1.0_f64..1e5, sigma in 0.0_f64..0.3, kappa in 1e-5_f64..1e-2) {
            let law = Law { lambda, sigma, kappa };
            let points = observe(&law, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
            let found = fit(&points, None).expect("it fits");
            prop_assert!((found.lambda / lambda - 1.0).abs() < 1e-4, "{found:?}");
            prop_assert!((found.sigma - sigma).abs() < 1e-4, "{found:?}");
            prop_assert!((found.kappa / kappa - 1.0).abs() < 1e-2, "{found:?}");
        }

        #[test]
        fn parameters_never_become_negative(noise in prop::collection::vec(-0.3_f64..0.3, 6)) {
            let law = Law { lambda: 100.0, sigma: 0.01, kappa: 1e-6 };
            let mut points = observe(&law, &[0.2, 1.0, 3.0, 9.0, 27.0, 81.0]);
            points.iter_mut().zip(noise).for_each(|(point, noise)| point.throughput *= 1.0 + noise);
            let found = fit(&points, None).expect("it fits");
            prop_assert!(found.sigma >= 0.0 && found.kappa >= 0.0 && found.lambda > 0.0);
        }

        #[test]
        fn concurrency_is_where_the_throughput_is(sigma in 0.0_f64..0.3, kappa in 0.0_f64..1e-2, share in 0.01_f64..0.99) {
            let law = Law { lambda: 50.0, sigma, kappa };
            let n = share * law.peak().min(1e4);
            let found = law.concurrency(law.throughput(n)).expect("below the peak");
            prop_assert!((found - n).abs() < 1e-4 * n.max(1.0), "{found} for {n}");
        }
    }
}
