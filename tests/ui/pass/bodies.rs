//! Early returns, `?`, coercions and local items mean in an annotated body what
//! they mean without the attribute.
#![deny(warnings, clippy::all)]

use std::num::ParseIntError;
use std::sync::{Arc, Mutex};

use cache_runtime::{cache_invalidate, cached};

#[derive(Debug, PartialEq)]
enum Failure {
    Parse(ParseIntError),
    Empty,
}

impl From<ParseIntError> for Failure {
    fn from(error: ParseIntError) -> Self {
        Self::Parse(error)
    }
}

type Fallible<T> = Result<T, Failure>;

#[cached(key = "number:<text>")]
async fn number(text: &str) -> Fallible<u64> {
    if text.is_empty() {
        return Err(Failure::Empty);
    }
    let number = text.parse()?;
    Ok(number)
}

#[cached(key = "into:<text>")]
async fn inferred(text: &str) -> Option<Arc<str>> {
    let letters = text.chars().rev().collect::<String>();
    Some(letters.into())
}

/// The body's own `Result` is not the signature's.
#[cached(key = "shadowed:<id>")]
async fn shadowed(id: u64) -> Result<u64, String> {
    type Result = std::result::Result<u64, String>;
    fn local(id: u64) -> Result {
        id.checked_add(0).ok_or_else(String::new)
    }
    local(id)
}

#[cache_invalidate("number:<text>")]
async fn boxed_error(text: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let number: u64 = text.parse()?;
    if number == 0 {
        return Err("zero".into());
    }
    Ok(())
}

struct Guarded(Mutex<String>);

impl Guarded {
    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.0.lock().unwrap()
    }

    /// What a placeholder holds is let go before the body runs: the future is
    /// `Send` and the mutex is free.
    #[cached(key = "guarded:<self.lock().as_str()>")]
    async fn read(&self) -> usize {
        tokio::task::yield_now().await;
        self.lock().len()
    }

    #[cache_invalidate("guarded:<self.lock().as_str()>", "length:<result>")]
    async fn write(&self) -> usize {
        tokio::task::yield_now().await;
        let mut text = self.lock();
        text.push('x');
        text.len()
    }
}

/// A `macro_rules!` that writes them.
macro_rules! functions {
    ($name:ident, $key:literal, $ttl:expr, $parameter:ident) => {
        #[cached(key = $key, ttl = $ttl)]
        async fn $name($parameter: u64, other: u64) -> u64 {
            $parameter + other
        }
    };
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    assert_eq!(number("").await, Err(Failure::Empty));
    assert!(matches!(number("x").await, Err(Failure::Parse(_))));
    assert_eq!(number("7").await, Ok(7));
    assert_eq!(inferred("ab").await.as_deref(), Some("ba"));
    assert_eq!(shadowed(1).await, Ok(1));
    assert!(boxed_error("0").await.is_err());
    let guarded = Guarded(Mutex::new("a".to_owned()));
    assert_eq!(is_send(guarded.read()).await, 1);
    assert_eq!(is_send(guarded.write()).await, 2);
    functions!(local, "local:<id>:<other>", "5m", id);
    assert_eq!(local(1, 2).await, 3);
}
