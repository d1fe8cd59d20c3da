//! The server cannot save, and refuses writes and `PING` with `MISCONF`.

use cache_tests::RedisServer;

use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{Rows, patient};

pub(crate) const LOADED: &str = "rows loaded again by a process that connects meanwhile";

pub(crate) async fn cannot_save() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::builder().protected_configs().start();
    let rows = Rows::new(patient(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    server.refuse_to_save();
    let later = Rows::new(patient(&server.url()), folder.path());
    later.warm(0..ROWS).await;
    let loads = later.cache.stats().loads;
    vec![
        Figure::none(LOADED, loads).of(ROWS.into()),
        Figure::broken(rows.tally().broken() + later.tally().broken()),
    ]
}
