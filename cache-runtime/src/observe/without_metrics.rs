//! No metrics: what is left of them without the feature `metrics`.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;

/// How metrics are published: without the feature, there is nothing to set.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetricsSettings {}

/// The name of a cache in metrics: without the feature, it has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Label {}

impl MetricsSettings {
    #[expect(clippy::unused_self, reason = "the same as with the feature")]
    pub(crate) fn label(&self, _namespace: &str) -> Label {
        Label {}
    }
}

impl Label {
    #[expect(clippy::unused_self, reason = "the same as with the feature")]
    #[inline]
    pub(crate) fn record_load(&self, _function: &'static str, _took: Duration, _outcome: &str) {}
}

pub(crate) fn register(_core: &Arc<Core>, _settings: &MetricsSettings) {}
