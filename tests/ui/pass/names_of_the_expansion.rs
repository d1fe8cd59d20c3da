//! The user's own names stay the user's: locals, items and types called like
//! anything that an expansion could use.
#![deny(warnings, clippy::all, clippy::pedantic)]

use cache_runtime::{cache_invalidate, cached};

fn hit() -> &'static str {
    "mine"
}

const SITE: &str = "mine";
static CACHE: &str = "mine too";

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct IsResult(u64);
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct ReturnType(u64);

#[cached(key = "a:<hit>:<call>:<output>:<part0>:<cache>:<site>")]
async fn arguments(hit: u64, call: u64, output: u64, part0: u64, cache: u64, site: u64) -> u64 {
    let names = hit + call + output + part0;
    assert_eq!((SITE, CACHE, self::hit()), ("mine", "mine too", "mine"));
    names + cache + site
}

#[cached(key = "b:<result>:<names>")]
async fn types(result: u64, names: u64) -> Result<IsResult, ReturnType> {
    if result > names {
        return Err(ReturnType(result));
    }
    Ok(IsResult(names))
}

/// A parameter called `result` is that parameter, not what the function returned.
#[cache_invalidate("b:<result>:<names>", "c:<part0>")]
async fn parameter_called_result(result: u64, names: u64, part0: &str) -> u64 {
    result + names + u64::try_from(part0.len()).unwrap_or_default()
}

#[cache_invalidate("c:<part0>:<result>:<names>:<call>", "d:<result>:<part0>")]
async fn reads_result(part0: &str, names: String, call: u64) -> u64 {
    drop(names);
    call + u64::try_from(part0.len()).unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    assert_eq!(arguments(1, 2, 3, 4, 5, 6).await, 21);
    assert!(types(1, 2).await.is_ok_and(|value| value.0 == 2));
    assert!(types(2, 1).await.is_err_and(|error| error.0 == 2));
    assert_eq!(parameter_called_result(1, 2, "abc").await, 6);
    assert_eq!(reads_result("abc", String::new(), 1).await, 4);
}
