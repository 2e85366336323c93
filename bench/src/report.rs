//! The results, as the Markdown that is printed and kept.

use std::fmt::Write as _;
use std::fs;

use crate::figures::{Sample, median, ratio};
use crate::{Context as _, Result, machine};

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// For information.
    None,
}

impl Goal {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(goal) => Some(value >= goal),
            Self::AtMost(goal) => Some(value <= goal),
            Self::None => None,
        }
    }
}

/// A figure that has a goal.
#[derive(Debug, Clone)]
struct Verdict {
    what: String,
    value: f64,
    unit: &'static str,
    goal: Goal,
}

/// Collects what the scenarios find.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sections: String,
    verdicts: Vec<Verdict>,
    failed: u64,
}

impl Report {
    pub(crate) fn section(&mut self, title: &str, note: &str) {
        let _ = write!(self.sections, "\n### {title}\n\n{note}\n\n");
    }

    /// A table of medians, one line for each system.
    pub(crate) fn table(&mut self, columns: &[(&str, &[Sample])]) {
        self.sections += "| | req/s | p50 ms | p99 ms | front µs/req | Bun µs/req | front MB | Bun MB | failed |\n";
        self.sections += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for (label, samples) in columns {
            let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field));
            let failed: u64 = samples.iter().map(|sample| sample.failed).sum();
            self.failed += failed;
            let _ = writeln!(
                self.sections,
                "| {label} | {} | {} | {} | {} | {} | {} | {} | {failed} |",
                number(of(|s| s.rate)),
                number(of(|s| s.p50)),
                number(of(|s| s.p99)),
                number(of(|s| s.front)),
                number(of(|s| s.bun)),
                number(of(|s| s.front_memory)),
                number(of(|s| s.bun_memory)),
            );
        }
    }

    /// A table of ratios: what `name` did over what others did in the same rounds.
    pub(crate) fn ratios(&mut self, name: &str, ours: &[Sample], others: &[(&str, &[Sample])]) {
        let _ = writeln!(
            self.sections,
            "\n| {name} over | req/s | p50 | p99 | CPU a request | memory |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |"
        );
        for (other, samples) in others {
            let of = |field: fn(&Sample) -> f64| number(ratio(ours, samples, field));
            let _ = writeln!(
                self.sections,
                "| {other} | {} | {} | {} | {} | {} |",
                of(|s| s.rate),
                of(|s| s.p50),
                of(|s| s.p99),
                of(Sample::cpu),
                of(Sample::memory),
            );
        }
    }

    pub(crate) fn verdict(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.verdicts.push(Verdict {
            what: what.into(),
            value,
            unit,
            goal,
        });
    }

    fn render(&self, how: &str) -> String {
        let mut text = format!(
            "# Results\n\nWritten by `make bench` on {}. {}. {}, {}, Bun {}.\n{how} \
             Loopback, all systems on the same cores, in turns. Ratios are medians of the ratios of\n\
             neighbours in time, warm loads have new processes each round; absolute figures are those of this machine only.\n\
             Memory is that of the front with its part of what it shares (PSS), and what those of Bun that took part\n\
             have for themselves alone.\n\n\
             ## Goals\n\n| | here | goal | |\n| --- | ---: | ---: | --- |\n",
            machine::date(),
            machine::shape(),
            machine::output("nginx", &["-v"]).replace("nginx version: ", ""),
            machine::output("wrk", &["-v"])
                .split(" [")
                .next()
                .unwrap_or("wrk"),
            machine::bun(),
        );
        for verdict in &self.verdicts {
            let (goal, met) = match verdict.goal {
                Goal::AtLeast(goal) => (
                    format!("≥ {goal}{}", verdict.unit),
                    verdict.goal.met(verdict.value),
                ),
                Goal::AtMost(goal) => (
                    format!("≤ {goal}{}", verdict.unit),
                    verdict.goal.met(verdict.value),
                ),
                Goal::None => ("–".to_owned(), None),
            };
            let mark = met.map_or("", |met| if met { "met" } else { "**not met**" });
            let _ = writeln!(
                text,
                "| {} | {}{} | {goal} | {mark} |",
                verdict.what,
                number(verdict.value),
                verdict.unit
            );
        }
        let _ = write!(text, "\n## Figures\n{}", self.sections);
        if self.failed > 0 {
            let _ = write!(
                text,
                "\n{} requests failed: the figures above are not to be trusted.\n",
                self.failed
            );
        }
        text
    }

    /// Prints the report and writes it: to `bench/RESULTS.md` after a full run, else beside the logs.
    pub(crate) fn finish(&self, how: &str, full: bool) -> Result<()> {
        let text = self.render(how);
        let path = if full {
            "bench/RESULTS.md"
        } else {
            "bench/out/results.md"
        };
        fs::write(path, &text).context(|| path.to_owned())?;
        println!("{text}\nWritten to {path}");
        Ok(())
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        0.0 => "–".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(48_213.4), "48213");
        assert_eq!(number(13.54), "13.5");
        assert_eq!(number(1.018), "1.02");
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn the_report_says_what_is_not_met() {
        let mut report = Report::default();
        report.verdict("speed", 0.9, "", Goal::AtLeast(1.0));
        report.verdict("memory", 20.0, " MB", Goal::AtMost(30.0));
        let text = report.render("Quick.");
        assert!(
            text.contains("| speed | 0.90 | ≥ 1 | **not met** |"),
            "{text}"
        );
        assert!(
            text.contains("| memory | 20.0 MB | ≤ 30 MB | met |"),
            "{text}"
        );
    }
}
