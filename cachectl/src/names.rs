//! What counts, and what changes what is stored.

use std::time::Duration;

use cache_runtime::Cache;
use serde_json::json;

use crate::{End, Ended, Failure};

/// How long what was not carried out at once is tried again.
const REPEATED: Duration = Duration::from_secs(10);

pub(crate) async fn count(cache: &Cache, pattern: &str, json: bool) -> Ended {
    let entries = cache.count_matching(pattern).await?;
    if json {
        println!("{}", json!({ "entries": entries }));
    } else {
        println!("{entries}");
    }
    Ok(End::Well)
}

pub(crate) async fn invalidate(
    cache: &Cache,
    names: Vec<String>,
    matching: Option<String>,
    json: bool,
) -> Ended {
    let Some(pattern) = matching else {
        let count = names.len();
        let invalidated = cache.invalidate(names).await;
        carried_out(cache, invalidated).await?;
        if json {
            println!("{}", json!({ "names": count }));
        }
        return Ok(End::Well);
    };
    let invalidated = cache.invalidate_matching(pattern).await;
    let entries = invalidated.as_ref().ok().copied();
    carried_out(cache, invalidated.map(drop)).await?;
    match entries {
        entries if json => println!("{}", json!({ "entries": entries })),
        Some(entries) => println!("{}", removed(entries)),
        None => {}
    }
    Ok(End::Well)
}

/// What was not carried out is kept, and repeated, as long as this process runs.
async fn carried_out(
    cache: &Cache,
    result: Result<(), cache_runtime::Error>,
) -> Result<(), Failure> {
    let Err(error) = result else {
        return Ok(());
    };
    if error.is_key() {
        return Err(Failure(error.to_string()));
    }
    eprintln!("{error}; it is tried again for {REPEATED:?}");
    let flushed = cache.flush(REPEATED).await;
    flushed.map_err(|error| Failure(format!("{error}. It is not invalidated: try again later")))
}

pub(crate) async fn expire(cache: &Cache, keys: Vec<String>, json: bool) -> Ended {
    let count = keys.len();
    cache.expire(keys).await?;
    if json {
        println!("{}", json!({ "keys": count }));
    }
    Ok(End::Well)
}

pub(crate) async fn clear(cache: &Cache, yes: bool, json: bool) -> Ended {
    let entries = cache.count_matching("*").await?;
    if !yes {
        let entries = counted(entries);
        let reason = format!("{entries} would be removed; write `clear --yes` to do it");
        return Err(Failure(reason).into());
    }
    cache.clear().await?;
    if json {
        println!("{}", json!({ "entries": entries }));
    } else {
        println!("{}", removed(entries));
    }
    Ok(End::Well)
}

fn counted(entries: u64) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        entries => format!("{entries} entries"),
    }
}

fn removed(entries: u64) -> String {
    let verb = if entries == 1 { "is" } else { "are" };
    format!("{} {verb} removed", counted(entries))
}
