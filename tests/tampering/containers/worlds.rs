//! Rows in which the container is as it was exported, and what it is about was not as it should be.

use std::time::Duration;

use truc_evidence::Role;
use truc_evidence::container::{self, CheckName, State, Verdict};
use truc_trust::Verdict as Standing;

use crate::support::{Plan, Stamping, sent};

/// What is different, and what must come of it: the verdict, what fails, what is not shown.
struct Row {
    what: &'static str,
    plan: Plan,
    verdict: Verdict,
    failed: &'static [CheckName],
    not_shown: &'static [CheckName],
}

fn row(what: &'static str, plan: Plan, verdict: Verdict) -> Row {
    Row { what, plan, verdict, failed: &[], not_shown: &[] }
}

fn fails(what: &'static str, plan: Plan, failed: &'static [CheckName]) -> Row {
    Row { failed, ..row(what, plan, Verdict::Fails) }
}

fn misses(what: &'static str, plan: Plan, verdict: Verdict, not_shown: &'static [CheckName]) -> Row {
    Row { not_shown, ..row(what, plan, verdict) }
}

fn stamped() -> Plan {
    with(Stamping::default())
}

fn with(stamping: Stamping) -> Plan {
    Plan { stamping: Some(stamping), ..Plan::default() }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn before(verdict: Standing) -> Plan {
    Plan { verdict, ..stamped() }
}

fn after(verdict: Standing) -> Plan {
    with(Stamping { after: Some(verdict), ..Stamping::default() })
}

fn revoked(later: u64) -> Standing {
    Standing::Revoked { at: sent().plus(seconds(later)) }
}

fn revoked_before() -> Standing {
    Standing::Revoked { at: sent().minus(seconds(3600)) }
}

/// The token comes 70 s after the sending.
fn rows() -> Vec<Row> {
    use CheckName::{Authority, Directory, Log, Path, Registered, Status, StatusAfter, Timestamp};
    use Verdict::{Holds, Incomplete};
    let no_time: &[CheckName] = &[Timestamp, Log];
    vec![
        row("nothing; every certificate has ended since", stamped(), Holds),
        row("the provider's export", Plan { role: Role::Provider, ..stamped() }, Holds),
        row(
            "the directory lists the CA of the authority",
            with(Stamping { under_ca: true, ..Stamping::default() }),
            Holds,
        ),
        row(
            "stamped two days later",
            with(Stamping { later: seconds(172_800), ..Stamping::default() }),
            Holds,
        ),
        misses("not stamped", Plan::default(), Holds, no_time),
        misses(
            "the answer not stamped yet",
            with(Stamping { only: 1, ..Stamping::default() }),
            Holds,
            no_time,
        ),
        misses(
            "no status after",
            with(Stamping { after: None, ..Stamping::default() }),
            Holds,
            &[StatusAfter],
        ),
        fails("another anchor", Plan { anchor_seed: 9, ..stamped() }, &[Directory]),
        fails("the certificate had ended before", Plan { ended: true, ..stamped() }, &[Path]),
        fails("the certificate is not registered", Plan { registered: false, ..stamped() }, &[Registered]),
        fails("revoked before, known before", before(revoked_before()), &[Status]),
        fails("revoked before, known after", after(revoked_before()), &[StatusAfter]),
        fails("revoked between sending and token", after(revoked(30)), &[StatusAfter]),
        fails("unknown to its responder after", after(Standing::Unknown), &[StatusAfter]),
        row("revoked after the token", after(revoked(3600)), Holds),
        row("revoked after the token, said by the status before", before(revoked(3600)), Holds),
        misses(
            "revoked after the sending, without a token",
            Plan { verdict: revoked(3600), ..Plan::default() },
            Incomplete,
            &[Status],
        ),
        row("good by a revocation list", Plan { list: true, ..stamped() }, Holds),
        fails("revoked by a revocation list", Plan { list: true, ..before(revoked_before()) }, &[Status]),
        fails(
            "a token of another authority",
            with(Stamping { other_authority: true, ..Stamping::default() }),
            &[Timestamp],
        ),
        misses(
            "a token of an authority that the directory does not list",
            with(Stamping { unlisted: true, ..Stamping::default() }),
            Incomplete,
            &[Authority],
        ),
        fails(
            "a token over another root",
            with(Stamping { other_root: true, ..Stamping::default() }),
            &[Timestamp],
        ),
        fails(
            "a token from before the sending",
            with(Stamping { earlier: Some(seconds(7200)), ..Stamping::default() }),
            &[Timestamp],
        ),
        fails(
            "a token from after its authority's certificate",
            with(Stamping { later: seconds(86_400 * 60), ..Stamping::default() }),
            &[Timestamp],
        ),
        fails(
            "a head signed with another key",
            with(Stamping { other_key: true, ..Stamping::default() }),
            &[Log],
        ),
        fails("the head of another node", with(Stamping { other_node: true, ..Stamping::default() }), &[Log]),
        fails(
            "the head of a log with other leaves",
            with(Stamping { other_log: true, ..Stamping::default() }),
            &[Log],
        ),
    ]
}

#[tokio::test]
async fn each_world_has_the_verdict_it_should_have() {
    for row in rows() {
        let scene = row.plan.play().await;
        let report = container::verify(&scene.export().await, &scene.anchor).unwrap();
        let told = |state: State| report.checks.iter().filter(move |c| c.state == state).map(|c| c.name);
        assert_eq!(report.verdict, row.verdict, "{}: {report}", row.what);
        for name in row.failed {
            assert!(
                told(State::Failed).any(|n| n == *name),
                "{}: {name:?} does not fail: {report}",
                row.what
            );
        }
        let others: Vec<_> = told(State::Failed).filter(|n| !row.failed.contains(n)).collect();
        assert!(others.is_empty(), "{}: {others:?}: {report}", row.what);
        for name in row.not_shown {
            assert!(told(State::NotShown).any(|n| n == *name), "{}: {name:?} is shown: {report}", row.what);
        }
    }
}
