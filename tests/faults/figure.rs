//! A measured figure, and the promise about it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A busy machine makes waits longer. More than four times as long is not noise any more.
const SLACK: f64 = 4.0;

/// In milliseconds. A busy machine may leave a process aside for so long, however short the promise is.
const PAUSE: f64 = 75.0;

/// One measured figure, and its promise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    amount: Amount,
    promise: Promise,
    /// How many times as long a wait may be.
    slack: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Amount {
    Count { seen: u64, of: Option<u64> },
    Millis(f64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Promise {
    Zero,
    AtMost(u64),
    Millis(f64),
    /// No promise: the figure is only shown.
    Shown,
}

impl Figure {
    /// Calls that did not end as they would without a cache.
    pub(crate) fn broken(seen: u64) -> Self {
        Self::none("errors, panics and hangs", seen)
    }

    /// Asserts the promise without slack: without its mechanism the wait is not four times as long.
    pub(crate) fn without_slack(mut self) -> Self {
        self.slack = 1.0;
        self
    }

    /// How often something happened that must not happen.
    pub(crate) fn none(what: &str, seen: u64) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Count { seen, of: None },
            promise: Promise::Zero,
            slack: SLACK,
        }
    }

    /// How often something happened that may happen so often.
    pub(crate) fn at_most(what: &str, seen: u64, limit: u64) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Count { seen, of: None },
            promise: Promise::AtMost(limit),
            slack: SLACK,
        }
    }

    /// Adds the number of tries.
    pub(crate) fn of(mut self, tries: u64) -> Self {
        if let Amount::Count { of, .. } = &mut self.amount {
            *of = Some(tries);
        }
        self
    }

    /// How long something took. The promise is `limit`.
    pub(crate) fn within(what: &str, took: Duration, limit: Duration) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Millis(millis(took)),
            promise: Promise::Millis(millis(limit)),
            slack: SLACK,
        }
    }

    /// How long something took about which there is no promise.
    pub(crate) fn shown(what: &str, took: Duration) -> Self {
        Self {
            what: what.to_owned(),
            amount: Amount::Millis(millis(took)),
            promise: Promise::Shown,
            slack: SLACK,
        }
    }

    /// Whether the promise is kept, with slack for a busy machine.
    pub(crate) fn holds(&self) -> bool {
        match (&self.amount, &self.promise) {
            (Amount::Count { seen, .. }, Promise::Zero) => *seen == 0,
            (Amount::Count { seen, .. }, Promise::AtMost(limit)) => seen <= limit,
            (Amount::Millis(took), Promise::Millis(limit)) => {
                *took <= (limit * self.slack).max(PAUSE)
            }
            _ => true,
        }
    }

    /// Whether another try may have a better result: a busy machine makes waits longer, and so may
    /// cause one more load. It never makes data stale.
    pub(crate) fn may_be_noise(&self) -> bool {
        matches!(self.promise, Promise::Millis(_) | Promise::AtMost(_))
    }

    /// Whether the promise is kept with slack only. The table says so.
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
            Promise::AtMost(limit) => format!("≤ {}", grouped(*limit)),
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
