//! Succession of rights (protocol P6.4): what a closed member's successor is to be given, by the provider's own policy.

use truc_directory::{Directory, GroupMember, MemberEntry, MemberStatus, Succession};
use truc_model::{MemberId, SubsystemId, Timestamp};

use crate::event::{Carried, Place};
use crate::policy::Policy;
use crate::right::Right;
use crate::subject::Subject;

impl Policy {
    /// What every closed member of the directory leaves to its successor here and at `now`, without what is there
    /// already or was carried over before; by closed member, none that is empty. The old rights stay: they serve nobody.
    ///
    /// What is to be carried over is put into force by [`PolicyEvent::Succeeded`](crate::PolicyEvent::Succeeded). What an
    /// operator takes back afterwards is not offered again.
    pub fn successions(&self, directory: &Directory, now: Timestamp) -> Vec<Carried> {
        let closed = directory.members().filter_map(|member| taken_over(member, now));
        let all = closed.map(|(member, succession)| self.left_by(member, succession, now));
        all.filter(|carried| !carried.is_empty()).collect()
    }

    /// What `member` leaves to its successor; as [`Policy::successions`].
    pub(crate) fn left_by(&self, member: &MemberId, succession: &Succession, now: Timestamp) -> Carried {
        let heir = Heir { member, succession };
        let mut rights: Vec<Right> = Vec::new();
        for right in self.rights().filter(|right| !right.conditions().has_expired(now)) {
            let Some(subject) = heir.subject(right.subject()) else { continue };
            let equal = right.given_to(subject).by_succession(member.clone());
            let known = self.rights_on(equal.service()).iter().any(|known| known.id() == equal.id());
            if !known && !self.carried.rights.contains(&equal.id()) {
                rights.push(equal);
            }
        }
        let mut places = Vec::new();
        for group in self.local_groups() {
            let heirs = group.members.iter().filter_map(|who| heir.group_member(who));
            for who in heirs.filter(|who| !group.members.contains(who)) {
                let place = Place { owner: group.owner.clone(), code: group.code.clone(), member: who };
                if !self.carried.places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Carried { of: member.clone(), to: succession.member.clone(), rights, places }
    }
}

/// The member with its succession, once that has come into force.
fn taken_over(member: &MemberEntry, now: Timestamp) -> Option<(&MemberId, &Succession)> {
    let succession = member.succession.as_ref().filter(|succession| succession.at <= now)?;
    (member.status == MemberStatus::Closed).then_some((&member.id, succession))
}

struct Heir<'a> {
    member: &'a MemberId,
    succession: &'a Succession,
}

impl Heir<'_> {
    /// Who goes on as `subsystem`; nobody when it is not in the map.
    fn subsystem(&self, subsystem: &SubsystemId) -> Option<SubsystemId> {
        let steps = self.succession.subsystems.iter();
        steps.filter(|step| step.from == *subsystem).map(|step| step.to.clone()).next()
    }

    fn whole(&self, member: &MemberId) -> Option<MemberId> {
        (member == self.member).then(|| self.succession.member.clone())
    }

    fn subject(&self, subject: &Subject) -> Option<Subject> {
        match subject {
            Subject::Member(id) => self.whole(id).map(Subject::Member),
            Subject::Subsystem(id) => self.subsystem(id).map(Subject::Subsystem),
            // Whoever is in a group has its rights by that.
            Subject::GlobalGroup(_) | Subject::LocalGroup(_) => None,
        }
    }

    fn group_member(&self, who: &GroupMember) -> Option<GroupMember> {
        match who {
            GroupMember::Member(id) => self.whole(id).map(GroupMember::Member),
            GroupMember::Subsystem(id) => self.subsystem(id).map(GroupMember::Subsystem),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use truc_directory::SuccessionStep;

    use super::*;
    use crate::{Conditions, PolicyEvent, ServiceDefinition};

    const OWNER: &str = "VN/GOV/G01/csdl-dancu";

    fn now() -> Timestamp {
        "2026-11-23T03:00:00.000Z".parse().unwrap()
    }

    fn succession() -> Succession {
        let step =
            |from: &str, to: &str| SuccessionStep { from: from.parse().unwrap(), to: to.parse().unwrap() };
        Succession {
            member: "VN/GOV/H05".parse().unwrap(),
            subsystems: vec![step("VN/GOV/H02/mot-cua", "VN/GOV/H05/mot-cua-2")],
            at: now(),
        }
    }

    fn right(subject: &str) -> Right {
        let service = format!("{OWNER}/tra-cuu");
        Right::new(
            subject.parse().unwrap(),
            service.parse().unwrap(),
            "GET".parse().unwrap(),
            "/a/*".parse().unwrap(),
        )
    }

    fn granted(rights: &[Right], in_group: &[&str]) -> Vec<PolicyEvent> {
        let service = format!("{OWNER}/tra-cuu").parse().unwrap();
        let url = "http://127.0.0.1:9000".parse().unwrap();
        let (owner, code): (SubsystemId, crate::GroupCode) = (OWNER.parse().unwrap(), "ban".parse().unwrap());
        let mut events = vec![
            PolicyEvent::ServiceAdded(ServiceDefinition::rest(service, url)),
            PolicyEvent::LocalGroupAdded {
                owner: owner.clone(),
                code: code.clone(),
                description: String::new(),
            },
        ];
        events.extend(rights.iter().cloned().map(PolicyEvent::RightGranted));
        events.extend(in_group.iter().map(|who| PolicyEvent::LocalGroupMemberAdded {
            owner: owner.clone(),
            code: code.clone(),
            member: GroupMember::try_from((*who).to_owned()).unwrap(),
        }));
        events
    }

    fn replayed(events: &[PolicyEvent]) -> Policy {
        Policy::replay([OWNER.parse().unwrap()], events).unwrap()
    }

    fn left(policy: &Policy) -> Carried {
        policy.left_by(&"VN/GOV/H02".parse().unwrap(), &succession(), now())
    }

    #[test]
    fn equal_rights_are_carried_over_once_with_their_conditions() {
        let until = |moment: &str| Conditions {
            require_legal_basis: true,
            hours: Some("mon-fri 07:30-17:00".parse().unwrap()),
            expires: Some(moment.parse().unwrap()),
            ..Conditions::default()
        };
        let mut events = granted(
            &[
                right("VN/GOV/H02"),
                right("VN/GOV/H02/mot-cua").under(until("2027-01-01T00:00:00.000Z")),
                right("VN/GOV/H02/mot-cua").under(until("2026-01-01T00:00:00.000Z")),
                right("VN/GOV/H02/khong-ai-ke-thua"),
                right("VN/GOV/H26"),
                right("GROUP:tinh"),
                right("LOCALGROUP:ban"),
            ],
            &["MEMBER:VN/GOV/H02", "SUBSYSTEM:VN/GOV/H02/mot-cua", "MEMBER:VN/GOV/H26"],
        );
        let policy = replayed(&events);
        let carried = left(&policy);
        let told: Vec<String> = carried.rights.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "MEMBER:VN/GOV/H05 GET /a/* by succession of VN/GOV/H02",
                "SUBSYSTEM:VN/GOV/H05/mot-cua-2 GET /a/* (legal-basis, mon-fri 07:30-17:00, until 2027-01-01T00:00:00.000Z) by succession of VN/GOV/H02",
            ]
        );
        let places: Vec<String> = carried.places.iter().map(|p| String::from(p.member.clone())).collect();
        assert_eq!(places, ["SUBSYSTEM:VN/GOV/H05/mot-cua-2", "MEMBER:VN/GOV/H05"]);

        // In force at once, there after a restart, and only once; what is taken back stays taken back.
        let event = PolicyEvent::Succeeded(carried.clone());
        let after = policy.apply(&event).unwrap();
        assert!(left(&after).is_empty());
        assert!(after.apply(&event).is_err());
        events.push(event);
        events.push(PolicyEvent::RightRevoked(carried.rights[0].clone()));
        events.push(PolicyEvent::LocalGroupMemberRemoved {
            owner: carried.places[0].owner.clone(),
            code: carried.places[0].code.clone(),
            member: carried.places[0].member.clone(),
        });
        let again = replayed(&events);
        assert!(left(&again).is_empty());
        assert_eq!(again.right(carried.rights[1].id()), Some(&carried.rights[1]));
        assert_eq!(again.rights().count(), 8, "the old ones stay");
        // A right that comes later to the closed member is carried over too.
        let later = right("VN/GOV/H02").under(until("2028-01-01T00:00:00.000Z"));
        let later = again.apply(&PolicyEvent::RightGranted(later)).unwrap();
        assert_eq!(left(&later).rights.len(), 1);
    }

    proptest! {
        #[test]
        fn carrying_over_is_idempotent_and_takes_nothing_away(picks in proptest::collection::btree_set(0..6_usize, 0..6)) {
            let subjects = [
                "VN/GOV/H02", "VN/GOV/H02/mot-cua", "VN/GOV/H05", "VN/GOV/H05/mot-cua-2", "VN/GOV/H26", "GROUP:x",
            ];
            let rights: Vec<Right> = picks.iter().map(|i| right(subjects[*i])).collect();
            let policy = replayed(&granted(&rights, &[]));
            let carried = left(&policy);
            let after = if carried.is_empty() { policy } else { policy.apply(&PolicyEvent::Succeeded(carried)).unwrap() };
            prop_assert!(left(&after).is_empty());
            for right in &rights {
                prop_assert_eq!(after.right(right.id()), Some(right));
            }
            prop_assert_eq!(picks.contains(&0) || picks.contains(&2), after.right(right("VN/GOV/H05").id()).is_some());
        }
    }
}
