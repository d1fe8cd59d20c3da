//! What a scenario measures, and what is promised of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A busy machine may stretch any wait; four times is no noise any more.
const SLACK: f64 = 4.0;

/// One measured figure, and its promise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    amount: Amount,
    promise: Promise,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Amount {
    Count { seen: u64, of: Option<u64> },
    Millis(f64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Promise {
    Zero,
    Millis(f64),
    /// Bounded by something else than a number of ours; shown for the record.
    Shown,
}

impl Figure {
    /// How often something happened that must not happen.
    pub(crate) fn none(what: &str, seen: u64) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Count { seen, of: None },
            promise: Promise::Zero,
        }
    }

    /// In so many tries.
    pub(crate) fn of(mut self, tries: u64) -> Self {
        if let Amount::Count { of, .. } = &mut self.amount {
            *of = Some(tries);
        }
        self
    }

    /// How long something took that is promised to take no longer than `limit`.
    pub(crate) fn within(what: &str, took: Duration, limit: Duration) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Millis(millis(took)),
            promise: Promise::Millis(millis(limit)),
        }
    }

    /// How long something took that nothing is promised of.
    pub(crate) fn shown(what: &str, took: Duration) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Millis(millis(took)),
            promise: Promise::Shown,
        }
    }

    /// Whether the promise is kept, as far as a busy machine can tell.
    pub(crate) fn holds(&self) -> bool {
        match (&self.amount, &self.promise) {
            (Amount::Count { seen, .. }, Promise::Zero) => *seen == 0,
            (Amount::Millis(took), Promise::Millis(limit)) => *took <= limit * SLACK,
            _ => true,
        }
    }

    /// Whether another try may show what the promise is about: a wait may be the machine's, and
    /// old data never are.
    pub(crate) fn may_be_noise(&self) -> bool {
        matches!(self.promise, Promise::Millis(_))
    }

    /// Whether it is kept with slack only: for the eyes of who reads the table.
    pub(crate) fn is_strained(&self) -> bool {
        matches!(
            (&self.amount, &self.promise),
            (Amount::Millis(took), Promise::Millis(limit)) if took > limit
        )
    }

    pub(crate) fn amount(&self) -> String {
        match &self.amount {
            Amount::Count { seen, of: None } => grouped(*seen),
            Amount::Count { seen, of: Some(of) } => {
                format!("{} of {}", grouped(*seen), grouped(*of))
            }
            Amount::Millis(millis) => shown_millis(*millis),
        }
    }

    pub(crate) fn promise(&self) -> String {
        match &self.promise {
            Promise::Zero => "0".to_owned(),
            Promise::Millis(millis) => format!("≤ {}", shown_millis(*millis)),
            Promise::Shown => "–".to_owned(),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn shown_millis(millis: f64) -> String {
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// `12345` as `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
