//! What counts, and what changes what is stored.

use std::time::Duration;

use cache_runtime::Cache;
use serde_json::json;

use crate::{End, Ended, Failure, output};

/// How long what was not carried out at once is tried again.
const REPEATED: Duration = Duration::from_secs(10);

pub(crate) async fn count(cache: &Cache, pattern: &str, json: bool) -> Ended {
    let entries = cache.count_matching(pattern).await?;
    if json {
        output::print_json(&json!({ "entries": entries }))?;
    } else {
        output::print(&entries.to_string())?;
    }
    Ok(End::Well)
}

pub(crate) async fn invalidate(cache: &Cache, names: Vec<String>, json: bool) -> Ended {
    if let Some(name) = names.iter().find(|name| name.contains('*')) {
        output::warn(&format!(
            "`{name}` is taken for a name; write `--matching '{name}'` for all names that match it"
        ));
    }
    let count = names.len();
    let invalidated = cache.invalidate(names).await;
    carried_out(cache, invalidated).await?;
    if json {
        output::print_json(&json!({ "names": count }))?;
    } else {
        output::print(&format!(
            "{} invalidated",
            counted(count as u64, "name is", "names are")
        ))?;
    }
    Ok(End::Well)
}

pub(crate) async fn invalidate_matching(cache: &Cache, pattern: String, json: bool) -> Ended {
    let invalidated = cache.invalidate_matching(pattern).await;
    // Those of a removal that is repeated are not counted.
    let entries = invalidated.as_ref().ok().copied();
    carried_out(cache, invalidated.map(drop)).await?;
    if json {
        output::print_json(&json!({ "entries": entries }))?;
    } else if let Some(entries) = entries {
        output::print(&removed(entries))?;
    }
    Ok(End::Well)
}

/// What was not carried out is kept, and repeated, as long as this process runs. What a server refuses, it
/// refuses again.
async fn carried_out(
    cache: &Cache,
    result: Result<(), cache_runtime::Error>,
) -> Result<(), Failure> {
    let Err(error) = result else {
        return Ok(());
    };
    if !error.is_unavailable() {
        return Err(Failure(error.to_string()));
    }
    output::warn(&format!("{error}. It is tried again for {REPEATED:?}"));
    let flushed = cache.flush(REPEATED).await;
    flushed.map_err(|error| {
        Failure(format!(
            "{error}. Perhaps nothing is invalidated: try again later"
        ))
    })
}

pub(crate) async fn expire(cache: &Cache, keys: Vec<String>, json: bool) -> Ended {
    let count = keys.len();
    cache.expire(keys).await?;
    if json {
        output::print_json(&json!({ "keys": count }))?;
    } else {
        output::print(&format!(
            "{} expired",
            counted(count as u64, "key is", "keys are")
        ))?;
    }
    Ok(End::Well)
}

pub(crate) async fn clear(cache: &Cache, yes: bool, json: bool) -> Ended {
    let entries = cache.count_matching("*").await?;
    if !yes {
        let entries = counted(entries, "entry", "entries");
        let reason = format!("{entries} would be removed; write `clear --yes` to do it");
        return Err(Failure(reason).into());
    }
    cache.clear().await?;
    if json {
        output::print_json(&json!({ "entries": entries }))?;
    } else {
        output::print(&removed(entries))?;
    }
    Ok(End::Well)
}

fn counted(count: u64, one: &str, several: &str) -> String {
    let word = if count == 1 { one } else { several };
    format!("{count} {word}")
}

fn removed(entries: u64) -> String {
    format!("{} removed", counted(entries, "entry is", "entries are"))
}
