//! Opening the embedded database: any number at once, privately, and nothing that is not ours or not known to us.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;

use model::audit::AuditFilter;
use rusqlite::Connection;
use store::sqlite::SqliteStore;
use store::{Clock, Store, StoreError};

use crate::harness::*;

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Clock::system())
}

#[track_caller]
fn refused_by(path: &Path) -> StoreError {
    let error = open(path).err().expect("it is not opened");
    assert!(matches!(error, StoreError::Unreachable(_) | StoreError::TooNew { .. }), "{error:?}");
    error
}

#[tokio::test]
async fn ten_may_open_a_fresh_file_at_once() {
    const COUNT: usize = 10;
    let directory = directory();
    let path = directory.path().join("db");
    let together = Barrier::new(COUNT);
    let stores = std::thread::scope(|scope| {
        let open = || {
            together.wait();
            open(&path)
        };
        let threads: Vec<_> = (0..COUNT).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect::<Vec<_>>()
    });
    let house = project("house");
    for (number, store) in stores.iter().enumerate() {
        let asked = command(&agent("ann"), acquire(&[&number.to_string()]));
        assert_eq!(token(store.apply(&house, &[asked]).await.unwrap().remove(0)), number as i64 + 1);
    }
    let all = AuditFilter { limit: 100, ..AuditFilter::default() };
    assert_eq!(stores[0].audit(&house, &all).await.unwrap().len(), COUNT);
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let directory = directory();
    let path = directory.path().join("new/directories/db");
    let store = open(&path).unwrap();
    store.apply(&project("house"), &[command(&agent("ann"), acquire(&["src"]))]).await.unwrap();
    let mut files = 0;
    for file in fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        files += 1;
    }
    assert!(files >= 3, "the database, its log and its index: {files}");
}

#[tokio::test]
async fn one_that_others_can_read_is_made_private() {
    let directory = directory();
    let path = directory.path().join("db");
    drop(open(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let directory = directory();
    let path = directory.path().join("db");
    let house = project("house");
    let store = open(&path).unwrap();
    store.apply(&house, &[command(&agent("ann"), acquire(&["src"]))]).await.unwrap();
    let before = store.locks(&house, None).await.unwrap();
    drop(store);
    assert_eq!(open(&path).unwrap().locks(&house, None).await.unwrap(), before);
}

/// A database of the first version, with a lock in it, takes what has come since and keeps what it has.
#[tokio::test]
async fn an_older_version_is_brought_up_to_date() {
    let directory = directory();
    let path = directory.path().join("db");
    let house = project("house");
    let first = Connection::open(&path).unwrap();
    first.execute_batch(include_str!("../../migrations/sqlite/0001_foundation.sql")).unwrap();
    first
        .execute_batch(
            "insert into projects values ('house', 1, 0);
             insert into locks values ('house', 'path', 'src', 0, 'ann', 'src', 't', null, 'exclusive', null, 1, 0,
                 9000000000000000);
             pragma application_id = 0x4167436f; pragma user_version = 1",
        )
        .unwrap();
    drop(first);
    let store = open(&path).unwrap();
    assert_eq!(store.locks(&house, None).await.unwrap().len(), 1);
    let outcomes = store.apply(&house, &[command(&agent("ann"), handoff("after"))]).await.unwrap();
    assert!(outcomes[0].is_success());
}

#[tokio::test]
async fn a_newer_version_is_refused() {
    let directory = directory();
    let path = directory.path().join("db");
    drop(open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let error = refused_by(&path);
    assert!(matches!(error, StoreError::TooNew { found: 999, .. }), "{error:?}");
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let directory = directory();
    let path = directory.path().join("db");
    let first = Connection::open(&path).unwrap();
    first.execute_batch(include_str!("../../migrations/sqlite/0001_foundation.sql")).unwrap();
    first.pragma_update(None, "application_id", 0x4167_436f).unwrap();
    first.pragma_update(None, "user_version", 1).unwrap();
    drop(first);
    let (store, house) = (open(&path).unwrap(), project("house"));
    store.apply(&house, &[command(&agent("ann"), memory("it works"))]).await.unwrap();
    let question = model::ranking::Question::new("what works?", &[], None);
    assert_eq!(store::recall(&store, &house, &question).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    for version in [0, 1, 999] {
        let directory = directory();
        let path = directory.path().join("db");
        let theirs = Connection::open(&path).unwrap();
        theirs.execute_batch("create table bookmarks (url text); insert into bookmarks values ('x')").unwrap();
        theirs.pragma_update(None, "user_version", version).unwrap();
        drop(theirs);
        let before = fs::read(&path).unwrap();
        let message = refused_by(&path).to_string();
        assert!(message.contains("another program"), "{message}");
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert!(fs::read(&path).unwrap() == before, "it was written to");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = directory();
    let path = directory.path().join("notes.txt");
    let text = "not a database, but long enough to have a header. ".repeat(50);
    fs::write(&path, &text).unwrap();
    let message = refused_by(&path).to_string();
    assert!(message.contains("not a SQLite database"), "{message}");
    assert!(message.contains("notes.txt"), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_named() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [directory.path().to_owned(), file.join("db")] {
        let message = refused_by(&path).to_string();
        assert!(message.contains(&directory.path().display().to_string()), "{message}");
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    let directory = directory();
    let path = directory.path().join("db");
    fs::write(&path, "").unwrap();
    open(&path).unwrap().ping().await.unwrap();
}
