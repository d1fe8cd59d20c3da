//! How much is sent together.

/// The most slots that are read, leased, written or removed together.
pub(super) const SLOTS_TOGETHER: usize = 200;

/// The most bytes of values that are sent together, unless one value has more.
const BYTES_TOGETHER: usize = 1 << 20;

/// How many of the next values are sent together, by how many bytes each has: at least one.
pub(super) fn fitting<T>(rest: &[T], size: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let fitting = rest.iter().take(SLOTS_TOGETHER).take_while(|value| {
        bytes += size(value);
        bytes <= BYTES_TOGETHER
    });
    fitting.count().max(1)
}
