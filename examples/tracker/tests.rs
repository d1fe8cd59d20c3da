//! Random reads and writes from several tasks: each cached read is compared with the database.

use std::sync::Arc;
use std::time::Duration;

use cache_runtime::{Cache, after_commit};
use cache_tests::{Random, RedisServer};
use sqlx::SqlitePool;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use crate::database;
use crate::entities::{Comment, Filter, Issue, IssueId, Project, ProjectId, TenantId, UserId};
use crate::repository::Repository;

const TENANTS: i64 = 3;
const ISSUES: i64 = 12;
const TASKS: u64 = 4;
const STEPS: u64 = 120;

#[test]
fn annotations_have_no_contradictions() {
    cache_runtime::registry::check().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_caches_on_a_server_answer_as_the_database_does() {
    let server = RedisServer::start();
    let cache = || Cache::builder().url(server.url()).build().unwrap();
    let differences = run([cache(), cache()], Update::Annotated).await;
    assert_eq!(differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_in_the_process_answers_as_the_database_does() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let differences = run([cache.clone(), cache], Update::Annotated).await;
    assert_eq!(differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_does_not_name_the_old_assignee_is_noticed() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let differences = run([cache.clone(), cache], Update::WithoutOldAssignee).await;
    assert!(!differences.is_empty());
    assert!(
        differences
            .iter()
            .all(|difference| difference.contains(" Of(")),
        "{differences:?}"
    );
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Update {
    Annotated,
    /// A move does not name the old assignee.
    WithoutOldAssignee,
}

struct Service {
    pool: SqlitePool,
    caches: [Cache; 2],
    off: Cache,
    update: Update,
    /// Writers share it; a comparison has it alone, so that no write is under way.
    turn: RwLock<()>,
}

async fn run(caches: [Cache; 2], update: Update) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let service = Arc::new(Service {
        pool: database::open(&directory.path().join("tracker.sqlite"))
            .await
            .unwrap(),
        caches,
        off: Cache::builder().url("off:").build().unwrap(),
        update,
        turn: RwLock::new(()),
    });
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let service = Arc::clone(&service);
        tasks.spawn(async move { service.work(Random::new(task)).await });
    }
    let mut differences = tasks.join_all().await.concat();
    // A commit whose caller gave up can end after the invalidation, which is repeated 5 s later.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for tenant in 1..=TENANTS {
        for read in reads() {
            differences.extend(service.compare(TenantId(tenant), read).await);
        }
    }
    differences
}

#[derive(Debug, Clone, Copy)]
enum Read {
    Issue(i64),
    Project(i64),
    Issues,
    Comments,
    Of(Option<UserId>),
    In(ProjectId),
    List(Filter),
}

fn reads() -> Vec<Read> {
    let mut reads = vec![Read::Issues, Read::Comments, Read::Of(None)];
    reads.extend((1..=ISSUES).map(Read::Issue));
    reads.extend((1..=3).map(|user| Read::Of(Some(UserId(user)))));
    let projects = (1..=TENANTS).flat_map(|tenant| (1..=3).map(move |n| tenant * 10 + n));
    for project in projects {
        reads.extend([Read::Project(project), Read::In(ProjectId(project))]);
        for (project, open) in [(None, true), (Some(ProjectId(project)), false)] {
            reads.push(Read::List(Filter { project, open }));
        }
    }
    reads
}

impl Service {
    async fn work(&self, mut random: Random) -> Vec<String> {
        let reads = reads();
        let mut differences = Vec::new();
        for step in 0..STEPS {
            let callers_give_up = step >= STEPS / 2;
            let tenant = TenantId(1 + pick(&mut random, TENANTS));
            let read = reads[usize::try_from(random.below(reads.len() as u64)).unwrap()];
            match random.below(4) {
                0 if !callers_give_up => {
                    let _alone = self.turn.write().await;
                    for read in &reads {
                        differences.extend(self.differ(tenant, *read).await);
                    }
                }
                0 | 1 => {
                    // Concurrent with writes: only the last comparison judges what it stored.
                    self.read(tenant, read, &self.caches[0]).await;
                }
                _ => {
                    let _shared = self.turn.read().await;
                    self.write(tenant, &mut random, callers_give_up).await;
                }
            }
        }
        differences
    }

    async fn compare(&self, tenant: TenantId, read: Read) -> Vec<String> {
        let _alone = self.turn.write().await;
        self.differ(tenant, read).await
    }

    /// The differences between each cache and the database, while nothing writes.
    async fn differ(&self, tenant: TenantId, read: Read) -> Vec<String> {
        let expected = self.read(tenant, read, &self.off).await;
        let mut differences = Vec::new();
        for cache in &self.caches {
            let found = self.read(tenant, read, cache).await;
            if found != expected {
                differences.push(format!("{tenant:?} {read:?}: {found}, not {expected}"));
            }
        }
        differences
    }

    async fn read(&self, tenant: TenantId, read: Read, cache: &Cache) -> String {
        let issues = Repository::<Issue>::new(tenant, &self.pool, cache);
        let projects = Repository::<Project>::new(tenant, &self.pool, cache);
        let comments = Repository::<Comment>::new(tenant, &self.pool, cache);
        match read {
            Read::Issue(id) => format!("{:?}", issues.get(id).await.unwrap()),
            Read::Project(id) => format!("{:?}", projects.get(id).await.unwrap()),
            Read::Issues => format!("{:?}", issues.count().await.unwrap()),
            Read::Comments => format!("{:?}", comments.count().await.unwrap()),
            Read::Of(user) => format!("{:?}", issues.of(user).await.unwrap()),
            Read::In(project) => format!("{:?}", issues.count_in(project).await.unwrap()),
            Read::List(filter) => format!("{:?}", issues.list(filter).await.unwrap()),
        }
    }

    /// Inserts an issue, or moves it if it exists. One in three transactions rolls back.
    async fn write(&self, tenant: TenantId, random: &mut Random, callers_give_up: bool) {
        let cache = &self.caches[usize::from(random.below(2) == 1)];
        let issues = Repository::<Issue>::new(tenant, &self.pool, cache);
        // Ids of other tenants are tried too: their insert violates a constraint.
        let id = IssueId(1 + pick(random, ISSUES));
        let project = ProjectId(tenant.0 * 10 + 1 + pick(random, 3));
        let user = pick(random, 4);
        let assignee = (user > 0).then_some(UserId(user));
        let commits = random.below(3) > 0;
        let work = after_commit(async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if let Some(old) = issues.current(&mut tx, id).await? {
                match self.update {
                    Update::Annotated => issues.relocate(&mut tx, &old, project, assignee).await?,
                    Update::WithoutOldAssignee => {
                        issues
                            .relocate_without_old_assignee(&mut tx, &old, project, assignee)
                            .await?
                    }
                };
            } else {
                let title = format!("issue {}", id.0);
                let issue = Issue {
                    id,
                    project,
                    assignee,
                    parent: None,
                    title,
                    open: true,
                };
                issues.insert(&mut tx, &issue).await?;
            }
            // The caches do not see what is not committed.
            issues.of(assignee).await?;
            issues.get(id.0).await?;
            if commits {
                tx.commit().await
            } else {
                tx.rollback().await
            }
        });
        if callers_give_up && random.below(5) == 0 {
            // The caller gives up half-way, after some polls.
            let mut polls = random.below(30);
            let mut work = std::pin::pin!(work);
            std::future::poll_fn(|context| {
                polls = polls.saturating_sub(1);
                if polls == 0 {
                    std::task::Poll::Ready(())
                } else {
                    work.as_mut().poll(context).map(drop)
                }
            })
            .await;
        } else {
            // A constraint may have been violated: nothing was committed then.
            let _ = work.await;
        }
    }
}

fn pick(random: &mut Random, bound: i64) -> i64 {
    i64::try_from(random.below(bound.unsigned_abs())).unwrap()
}
