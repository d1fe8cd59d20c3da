//! An unsafe function stays one, and its body has to say what it does.
#![deny(warnings, clippy::all, clippy::pedantic, unsafe_op_in_unsafe_fn)]

use cache_runtime::{cache_invalidate, cached};

/// # Safety
/// `id` is not zero.
#[cached(key = "unsafe:<id>")]
pub async unsafe fn get(id: u64) -> std::num::NonZeroU64 {
    unsafe { std::num::NonZeroU64::new_unchecked(id) }
}

/// # Safety
/// `id` is not zero.
#[cached(key = "unsafe-future:<id>")]
pub unsafe fn future(id: u64) -> impl Future<Output = std::num::NonZeroU64> {
    let number = unsafe { std::num::NonZeroU64::new_unchecked(id) };
    async move { number }
}

/// # Safety
/// None needed.
#[cache_invalidate("unsafe:<id>")]
pub(crate) async unsafe fn change(id: u64) -> u64 {
    id
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    unsafe {
        assert_eq!(get(1).await.get(), 1);
        assert_eq!(future(1).await.get(), 1);
        assert_eq!(change(1).await, 1);
    }
}
