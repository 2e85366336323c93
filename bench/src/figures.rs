//! Medians, percentiles, and ratios taken pair by pair.

use std::time::Duration;

/// How long calls took, and how many failed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Latencies {
    times: Vec<Duration>,
    pub(crate) failed: u64,
}

impl Latencies {
    /// `None` is a call that failed.
    pub(crate) fn add(&mut self, time: Option<Duration>) {
        match time {
            Some(time) => self.times.push(time),
            None => self.failed += 1,
        }
    }

    pub(crate) fn merge(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.times.extend(part.times);
            all.failed += part.failed;
        }
        all.times.sort_unstable();
        all
    }

    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    /// In milliseconds. `share` from 0 to 1; the times must be sorted, as after `merge`.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        let at = ((last as f64) * share).round() as usize;
        self.times
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }
}

/// What one target did in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Answers a second.
    pub(crate) rate: f64,
    /// In milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU time in microseconds a request: of the front (ours or nginx), of Bun behind it.
    pub(crate) front: f64,
    pub(crate) bun: f64,
    /// In MB: what the front takes, its part of what it shares included (PSS), and what those
    /// of Bun that took part have for themselves alone. How many share Bun's code is another
    /// number in each system, and would stand in a PSS.
    pub(crate) front_memory: f64,
    pub(crate) bun_memory: f64,
    pub(crate) failed: u64,
}

impl Sample {
    /// One that only clients have seen: nothing is known of the processes.
    pub(crate) fn of_clients(latencies: &Latencies, took: Duration) -> Self {
        Self {
            rate: latencies.count() as f64 / took.as_secs_f64(),
            p50: latencies.percentile(0.5),
            p99: latencies.percentile(0.99),
            front: 0.0,
            bun: 0.0,
            front_memory: 0.0,
            bun_memory: 0.0,
            failed: latencies.failed,
        }
    }

    /// CPU time in microseconds a request, of all processes.
    pub(crate) fn cpu(&self) -> f64 {
        self.front + self.bun
    }

    /// In MB, of all processes.
    pub(crate) fn memory(&self) -> f64 {
        self.front_memory + self.bun_memory
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The median of the ratios of what ran next to each other in time.
pub(crate) fn ratio(ours: &[Sample], theirs: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    median(ours.iter().zip(theirs).map(|(a, b)| of(a) / of(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64) -> Sample {
        Sample {
            rate,
            p50: 1.0,
            p99: 2.0,
            front: 0.0,
            bun: 0.0,
            front_memory: 0.0,
            bun_memory: 0.0,
            failed: 0,
        }
    }

    #[test]
    fn medians_of_few_values() {
        assert!(median([]).is_nan());
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median([1.0, 2.0]), 1.5);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // The machine was slow in the second round: the pairs still agree.
        let ours = [sample(100.0), sample(10.0), sample(110.0)];
        let theirs = [sample(50.0), sample(5.0), sample(50.0)];
        assert_eq!(ratio(&ours, &theirs, |s| s.rate), 2.0);
    }

    #[test]
    fn percentiles_of_merged_parts() {
        let part = |times: &[u64]| {
            let mut latencies = Latencies::default();
            for &time in times {
                latencies.add(Some(Duration::from_millis(time)));
            }
            latencies.add(None);
            latencies
        };
        let all = Latencies::merge([part(&[5, 1]), part(&[3, 2, 4])]);
        assert_eq!((all.count(), all.failed), (5, 2));
        assert_eq!(all.percentile(0.5), 3.0);
        assert_eq!(all.percentile(0.99), 5.0);
    }
}
