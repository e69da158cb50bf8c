//! Percentiles of few values.

/// The `percent`th percentile of `values` by nearest rank; none of no values.
pub fn percentile(values: &mut [u32], percent: u32) -> Option<u32> {
    values.sort_unstable();
    let rank = (values.len() * percent as usize).div_ceil(100).max(1);
    values.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        assert_eq!(percentile(&mut [], 50), None);
        assert_eq!(percentile(&mut [7], 99), Some(7));
        let mut hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut hundred, 50), Some(50));
        assert_eq!(percentile(&mut hundred, 99), Some(99));
        assert_eq!(percentile(&mut [1, 2, 3], 50), Some(2));
        assert_eq!(percentile(&mut [1, 2, 3], 99), Some(3));
    }
}
