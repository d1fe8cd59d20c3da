//! `inspect`: what is stored under a name.

use std::io;

use cache_runtime::{Cache, Holds, Inspection, ShownValue, StoredEntry, TagVersion};

use crate::{End, Ended, output};

pub(crate) async fn run(cache: &Cache, names: &[String], json: bool) -> Ended {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(cache.inspect(name.as_str()).await?);
    }
    if json {
        output::print_json(&serde_json::to_value(&found)?)?;
    } else {
        for inspection in &found {
            show(inspection)?;
        }
    }
    Ok(if found.iter().all(is_well) {
        End::Well
    } else {
        End::Unwell
    })
}

/// An entry that would be served, or a tag that entries may have.
fn is_well(inspection: &Inspection) -> bool {
    let is_tag = matches!(inspection.as_tag, Some(TagVersion::Number(_)));
    inspection.would_be_served || inspection.holds == Holds::Nothing && is_tag
}

fn show(inspection: &Inspection) -> io::Result<()> {
    output::print(&format!("{}\n  {}", inspection.name, inspection.why))?;
    if let Some(entry) = &inspection.entry {
        show_entry(entry)?;
    }
    if let Some(version) = &inspection.as_tag {
        row("as a tag", &shown_version(version))?;
    }
    if let Some(failed) = &inspection.failed {
        let again = failed.again_in.map_or("soon".to_owned(), |left| {
            format!("in {}", output::time(left))
        });
        row(
            "failed",
            &format!("its load failed a moment ago, and is tried again {again}"),
        )?;
    }
    Ok(())
}

fn show_entry(entry: &StoredEntry) -> io::Result<()> {
    match &entry.value {
        ShownValue::Json { text, stored_as } => {
            row("value", &text.replace('\n', "\n              "))?;
            row("stored as", stored_as)?;
        }
        ShownValue::Bytes {
            preview,
            length,
            why,
        } => {
            row("value", &format!("{length} bytes, {preview}… ({why})"))?;
        }
        ShownValue::None => row("value", "`None`")?,
        ShownValue::Hidden { why } => row("value", why)?,
        _ => {}
    }
    if let Some(size) = entry.size {
        row("size", &format!("{size} bytes"))?;
    }
    for (name, time) in [
        ("age", entry.age),
        ("remaining", entry.remaining),
        ("load", entry.load),
    ] {
        if let Some(time) = time {
            row(name, &output::time(time))?;
        }
    }
    for tag in &entry.tags {
        let state = if tag.is_valid { "valid" } else { "invalidated" };
        row(
            "tag",
            &format!(
                "{} ({state}: stored with version {}, now {})",
                tag.name,
                tag.stored,
                shown_version(&tag.now)
            ),
        )?;
    }
    if entry.schema > 0 {
        row("schema", &format!("version {}", entry.schema))?;
    }
    if let Some(value_type) = &entry.value_type {
        row("type", value_type)?;
    }
    Ok(())
}

fn row(name: &str, value: &str) -> io::Result<()> {
    output::print(&format!("  {name:<10}  {value}"))
}

fn shown_version(version: &TagVersion) -> String {
    match version {
        TagVersion::Number(number) => format!("version {number}"),
        TagVersion::Fence => "a fence".to_owned(),
        _ => "absent".to_owned(),
    }
}
