//! The shift of a quantile far out, from the pooled requests of each side.
//!
//! One run of some hundred requests has no p99 to speak of. The runs are laid over each other by
//! their locations; the quantile of what is left is bounded by order statistics, and the shift of
//! the locations is added.

use super::sides::Side;
use super::spread::Posterior;
use crate::distribution::normal_quantile;
use crate::quantile;

/// A shift on the log scale and its bounds; `None` where the sample reaches no bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounded {
    pub(super) shift: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

/// The quantile of one side's residuals and the distances to its bounds.
struct Reach {
    value: f64,
    below: Option<f64>,
    above: Option<f64>,
}

/// The shift of the `p`-quantile, with bounds of this confidence by the method of variance
/// estimates recovery: Zou and Donner, "Construction of confidence limits about effect measures"
/// (2008). `None` where a side is empty.
pub(super) fn shift(
    a: &Side,
    b: &Side,
    location: &Posterior,
    p: f64,
    confidence: f64,
) -> Option<Bounded> {
    let tail = 0.5 * (1.0 - confidence);
    let (of_a, of_b) = (reach(a, p, tail)?, reach(b, p, tail)?);
    let (low, high) = (location.quantile(tail), location.quantile(1.0 - tail));
    let middle = location.mean();
    let shift = middle + of_b.value - of_a.value;
    let join = |x: Option<f64>, y: Option<f64>, z: f64| Some(x?.hypot(y?).hypot(z));
    Some(Bounded {
        shift,
        low: join(of_b.below, of_a.above, middle - low).map(|d| shift - d),
        high: join(of_b.above, of_a.below, high - middle).map(|d| shift + d),
    })
}

/// Order statistics whose ranks are the binomial's normal quantiles, widened by the requests'
/// memory: Hahn and Meeker, "Statistical intervals" (1991), 5.2.
fn reach(side: &Side, p: f64, tail: f64) -> Option<Reach> {
    let mut values = side.residuals().concat();
    let value = quantile(&mut values, p)?;
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let margin = normal_quantile(1.0 - tail) * (n * p * (1.0 - p) * side.inflation).sqrt();
    let (low, high) = ((n * p - margin).floor(), (n * p + margin).ceil());
    let at = |rank: f64| (rank >= 1.0 && rank <= n).then(|| values[rank as usize - 1]);
    Some(Reach {
        value,
        below: at(low).map(|bound| (value - bound).max(0.0)),
        above: at(high).map(|bound| (bound - value).max(0.0)),
    })
}
