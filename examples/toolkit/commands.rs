//! Commands that have no method of their own: a hash, a leaderboard and a stream.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use cache_runtime::raw::{Command, Raw};

use super::{Done, Output};

pub(crate) async fn hash(raw: &Raw, output: &mut Output<impl Write>) -> Done {
    let user = raw.name("user:7");
    let set = Command::new("HSET").key(&user).arg("name").arg("ada");
    raw.query::<()>(set.arg("age").arg(36)).await?;
    let older = Command::new("HINCRBY").key(&user).arg("age").arg(1);
    raw.query::<()>(older).await?;
    let fields = Command::new("HGETALL").key(&user);
    let fields: BTreeMap<String, String> = raw.query(fields).await?;
    output.line(format_args!("hash: {fields:?}"))?;
    Ok(())
}

pub(crate) async fn leaderboard(raw: &Raw, output: &mut Output<impl Write>) -> Done {
    let board = raw.name("board");
    let scores = [("ada", 12.5), ("grace", 9.0), ("alan", 30.0)];
    let add = |(name, score)| Command::new("ZADD").key(&board).arg(score).arg(name);
    // One round trip for all of them.
    for added in raw.pipeline(scores.map(add)).await? {
        added?;
    }
    let best = Command::new("ZREVRANGE").key(&board).arg(0).arg(1);
    let best: Vec<(String, f64)> = raw.query(best.arg("WITHSCORES")).await?;
    output.line(format_args!("leaderboard: {best:?}"))?;
    Ok(())
}

pub(crate) async fn stream(raw: &Raw, output: &mut Output<impl Write>) -> Done {
    type Entries = Vec<(String, HashMap<String, String>)>;
    let orders = raw.name("orders");
    // What an earlier run has left.
    raw.query::<()>(Command::new("DEL").key(&orders)).await?;
    for item in ["tea", "milk"] {
        let add = Command::new("XADD").key(&orders).arg("*");
        raw.query::<()>(add.arg("item").arg(item)).await?;
    }
    let all = Command::new("XRANGE").key(&orders).arg("-").arg("+");
    let entries: Entries = raw.query(all).await?;
    let items: Vec<_> = entries.iter().map(|(_, fields)| &fields["item"]).collect();
    output.line(format_args!("stream: {items:?}"))?;
    Ok(())
}
