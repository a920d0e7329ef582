//! How likely chance alone gives what looks like a pile or a burst.

/// The natural logarithm of a bound on the chance that independent events, of which `usual` are to be expected, occur
/// `seen` times or more (Chernoff's bound of the Poisson distribution). 0: nothing unusual.
#[must_use]
pub fn ln_chance(seen: f64, usual: f64) -> f64 {
    if seen <= usual {
        0.0
    } else if usual <= 0.0 {
        f64::NEG_INFINITY
    } else {
        seen - usual - seen * (seen / usual).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_above_the_chance_and_not_far_above() {
        for (usual, seen) in [(0.1_f64, 5_u32), (1.0, 8), (20.0, 60)] {
            let first = (1..=seen).fold((-usual).exp(), |p, k| p * usual / f64::from(k));
            let tail = (0..200).scan(first, |p, k| {
                let now = *p;
                *p *= usual / f64::from(seen + k + 1);
                Some(now)
            });
            let tail: f64 = tail.sum();
            let bound = ln_chance(f64::from(seen), usual);
            assert!(bound >= tail.ln() && bound < tail.ln() + 4.0, "{usual} {seen}: {bound} for {}", tail.ln());
        }
        assert!(ln_chance(3.0, 3.0).abs() < f64::EPSILON);
        assert!(ln_chance(1.0, 0.0) < -1e300, "what never happens");
    }
}
