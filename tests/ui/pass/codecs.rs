//! A codec is any expression of its type: a constant, a field, something over the arguments.
#![deny(warnings, clippy::all, clippy::pedantic)]

use std::pin::Pin;

use cache_runtime::{Cache, Codec, Options, cached};

const LARGE: Codec = Codec::JSON.zstd(3).above(4096);

struct Reports {
    codec: Codec,
}

impl Reports {
    #[cached(key = "constant:<year>", codec = LARGE)]
    async fn constant(&self, year: u32) -> u32 {
        year
    }

    #[cached(key = "field:<year>", codec = self.codec.lz4(), ttl = "1h")]
    async fn field(&self, year: u32) -> Option<u32> {
        Some(year)
    }

    #[cached(
        key = "argument:<year>",
        codec = if year > 2000 { Codec::POSTCARD } else { Codec::MESSAGE_PACK },
        version = 2,
    )]
    async fn argument(&self, year: u32) -> Result<u32, ()> {
        Ok(year)
    }

    #[cached(key = "boxed:<year>", codec = codec, skip(codec))]
    fn boxed(year: u32, codec: Codec) -> Pin<Box<dyn Future<Output = u32> + Send>> {
        Box::pin(async move { year })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let reports = Reports {
        codec: Codec::default(),
    };
    assert_eq!(reports.constant(1).await, 1);
    assert_eq!(reports.field(1).await, Some(1));
    assert_eq!(reports.argument(1).await, Ok(1));
    assert_eq!(Reports::boxed(1, LARGE).await, 1);

    let cache = Cache::builder()
        .codec(Codec::POSTCARD.lz4())
        .build()
        .unwrap();
    let options = Options::new().codec(Codec::MESSAGE_PACK.zstd(-1));
    cache.set("a", &1, options).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
}
