//! All citizens of a seed, in memory, with the indexes that the population register answers from.

use super::citizen::{Birth, Citizen, CitizenId};
use super::family::{BLOCK, block, household_number};
use super::names::{Name, match_key};

/// The synthetic population: citizens by place, and sorted indexes from their numbers to places.
#[derive(Debug)]
pub struct Population {
    seed: u64,
    citizens: Vec<Citizen>,
    ids: Vec<(CitizenId, u32)>,
    cmnds: Vec<(u32, u32)>,
    households: Vec<(u32, u32)>,
}

/// Whom a caller asks for, and what it claims to know of that person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The number the caller has seen.
    pub number: Number,
    /// [`match_key`] of the name.
    pub match_name: String,
    /// As the caller has it.
    pub birth: Birth,
}

/// One of the two numbers by which a person is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// `SoDinhDanh`, current or former.
    Id(CitizenId),
    /// `SoCMND`.
    Cmnd(u32),
}

impl Population {
    /// Makes citizens `0..count` of `seed`: well under a second for 100,000 in a release build.
    pub fn generate(seed: u64, count: usize) -> Self {
        let blocks = u32::try_from(count.div_ceil(4)).unwrap_or(u32::MAX);
        let mut citizens = Vec::with_capacity(count + 4);
        for number in 0..blocks {
            citizens.extend(block(seed, number));
        }
        citizens.truncate(count);
        let mut ids: Vec<_> = citizens
            .iter()
            .flat_map(|c| [c.id, c.old_id].into_iter().flatten().map(|id| (id, c.index)))
            .collect();
        let mut cmnds: Vec<_> = citizens.iter().filter_map(|c| c.cmnd.map(|n| (n, c.index))).collect();
        let heads = citizens.iter().filter(|c| c.head() == c.index);
        let mut households: Vec<_> = heads.map(|c| (household_number(seed, c.index), c.index)).collect();
        ids.sort_unstable();
        cmnds.sort_unstable();
        households.sort_unstable();
        Self { seed, citizens, ids, cmnds, households }
    }

    /// The seed it was made from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }
    /// How many citizens there are.
    pub fn len(&self) -> usize {
        self.citizens.len()
    }
    /// True when there is nobody.
    pub fn is_empty(&self) -> bool {
        self.citizens.is_empty()
    }
    /// The citizen at a place.
    pub fn citizen(&self, index: u32) -> Option<&Citizen> {
        self.citizens.get(index as usize)
    }
    /// All citizens in order.
    pub fn iter(&self) -> impl Iterator<Item = &Citizen> {
        self.citizens.iter()
    }

    /// Who has or had this number, matched or not; for the land register and for tests.
    pub fn by_id(&self, id: CitizenId) -> Option<&Citizen> {
        self.citizen(find(&self.ids, &id)?)
    }

    /// Verify, then disclose: the person only when number, name and birth all match and nothing
    /// restricts the record. Unknown, mismatched and restricted are one answer, found with the same
    /// work, so that nobody learns from it which numbers exist (protocol P4.7).
    pub fn verify(&self, question: &Question) -> Option<&Citizen> {
        let place = match question.number {
            Number::Id(id) => find(&self.ids, &id),
            Number::Cmnd(number) => find(&self.cmnds, &number),
        };
        // An unknown number is compared with somebody all the same.
        let person = self.citizen(place.unwrap_or(0))?;
        let name = same_name(person.name, &question.match_name);
        let birth = person.birth == question.birth;
        let open = !person.restricted;
        (place.is_some() & name & birth & open).then_some(person)
    }

    /// The household of a number like `HGD-99001-0000001`: its head and everybody in it.
    pub fn household(&self, name: &str) -> Option<Vec<&Citizen>> {
        let rest = name.strip_prefix("HGD-")?;
        let (commune, number) = rest.split_once('-')?;
        let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(commune, 5) || !digits(number, 7) {
            return None;
        }
        let head = self.citizen(find(&self.households, &number.parse().ok()?)?)?;
        if commune != commune_code(u32::from(head.commune)) {
            return None;
        }
        let end = head.index - head.index % BLOCK + BLOCK;
        Some((head.index..end).filter_map(|i| self.citizen(i)).filter(|c| c.head() == head.index).collect())
    }

    /// The name of somebody's household.
    pub fn household_name(&self, person: &Citizen) -> String {
        household_name(self.seed, person)
    }
}

/// The five digits of a commune, in a range no real commune has.
pub(super) fn commune_code(commune: u32) -> String {
    format!("{}", 99_000 + commune)
}

/// `HGD-<commune5>-<7 digits>`.
pub(super) fn household_name(seed: u64, person: &Citizen) -> String {
    format!("HGD-{}-{:07}", commune_code(u32::from(person.commune)), household_number(seed, person.head()))
}

fn find<K: Ord>(sorted: &[(K, u32)], key: &K) -> Option<u32> {
    let at = sorted.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
    sorted.get(at).map(|(_, place)| *place)
}

fn same_name(name: Name, claimed: &str) -> bool {
    // A claimed key is folded once more, which changes nothing in a well-formed one.
    name.key() == match_key(claimed)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::super::citizen::{LifeState, Relation, Sex};
    use super::*;

    const SEED: u64 = 20_260_101;

    fn population() -> Population {
        Population::generate(SEED, 5_000)
    }

    fn check_structure(id: CitizenId, sex: Sex, birth: Birth) {
        let text = id.to_string();
        assert_eq!(text.len(), 12);
        assert!(text.bytes().all(|b| b.is_ascii_digit()) && text.starts_with("099"), "demo province only");
        let digit: u16 = text[3..4].parse().unwrap();
        assert_eq!(digit % 2 == 1, sex == Sex::Female);
        assert_eq!(1900 + 100 * (digit / 2) + text[4..6].parse::<u16>().unwrap(), birth.year);
        assert_eq!(text.parse(), Ok(id));
    }

    #[test]
    fn every_id_has_the_structure_and_is_unique() {
        let all = Population::generate(SEED, 40_000);
        let mut ids = HashSet::new();
        let mut cmnds = HashSet::new();
        for c in all.iter() {
            for id in [c.id, c.old_id].into_iter().flatten() {
                check_structure(id, c.sex, c.birth);
                assert!(ids.insert(id));
            }
            if let Some(cmnd) = c.cmnd {
                assert!((990_000_000..1_000_000_000).contains(&cmnd) && cmnds.insert(cmnd));
            }
            assert!(c.id.is_some() || c.cmnd.is_some(), "nobody is without a number");
            assert!((1..=40).contains(&c.commune));
            assert!(c.birth.month <= 12 && c.birth.day <= 28 && c.birth.year <= 2026);
        }
        assert_eq!(all.households.windows(2).filter(|w| w[0].0 == w[1].0).count(), 0);
    }

    #[test]
    fn named_citizens_are_the_same_under_every_seed() {
        for seed in [0, SEED, u64::MAX] {
            let all = Population::generate(seed, 1_000);
            for (id, name, birth) in [
                ("099085000011", "Trần Quang Huy", "19850814"),
                ("099190000025", "Nguyễn Thị Minh Anh", "19900312"),
                ("099203000038", "Trần Đức Long", "20031125"),
                ("099312000041", "Trần Khánh Linh", "20120601"),
            ] {
                let person = all.by_id(id.parse().unwrap()).unwrap();
                assert_eq!(
                    (person.name.display().as_str(), person.birth.to_string().as_str()),
                    (name, birth)
                );
                check_structure(person.id.unwrap(), person.sex, person.birth);
            }
        }
    }

    #[test]
    fn one_citizen_is_made_as_in_the_whole() {
        let all = population();
        for index in [0, 1, 17, 48, 4_999] {
            let (alone, among) = (Citizen::of(SEED, index), all.citizen(index).unwrap());
            assert_eq!((alone.id, alone.name, alone.birth), (among.id, among.name, among.birth));
        }
        assert_ne!(Citizen::of(SEED + 1, 48).id, Citizen::of(SEED, 48).id);
    }

    #[test]
    fn every_edge_case_is_there() {
        let all = Population::generate(SEED, 1_000);
        let some = |what: &str, test: fn(&Citizen) -> bool| assert!(all.iter().any(test), "{what}");
        some("id changed", |c| c.old_id.is_some());
        some("no middle name", |c| c.name.chu_dem().is_empty());
        some("long ethnic name", |c| c.name.display().chars().count() > 50 && c.name.ethnicity() != 1);
        some("minority", |c| c.name.ethnicity() == 8);
        some("deceased", |c| c.life == LifeState::Deceased);
        some("missing", |c| c.life == LifeState::Missing);
        some("restricted", |c| c.restricted);
        some("year only", |c| c.birth.to_string().len() == 4);
        some("day 00", |c| c.birth.month > 0 && c.birth.day == 0);
        some("CMND-only elder", |c| c.id.is_none() && c.cmnd.is_some() && c.birth.year < 1945);
        some("minor with a guardian who is no parent", |c| {
            !c.is_adult() && c.relation == Relation::Ward && c.guardian().is_some()
        });
        let mut seen = HashMap::new();
        let twins = all.iter().any(|c| seen.insert((c.name.display(), c.birth.to_string()), c.id).is_some());
        assert!(twins, "same name and birth date");
    }

    #[test]
    fn families_hang_together() {
        let all = population();
        for c in all.iter() {
            let get = |i: Option<u32>| i.and_then(|i| all.citizen(i));
            for parent in [c.father(), c.mother()] {
                assert!(get(parent).is_none_or(|p| p.birth.year + 16 <= c.birth.year), "{}", c.index);
            }
            assert!(get(c.father()).is_none_or(|p| p.sex == Sex::Male));
            assert!(get(c.mother()).is_none_or(|p| p.sex == Sex::Female));
            assert!(get(c.spouse()).is_none_or(|s| s.spouse() == Some(c.index) && s.sex != c.sex));
            assert!(get(c.guardian()).is_none_or(|g| g.is_adult() && g.life == LifeState::Living));
            let home = all.household(&all.household_name(c)).unwrap();
            assert!(home.iter().any(|m| m.index == c.index) && home[0].relation == Relation::Head);
            assert!(home.iter().all(|m| m.commune == c.commune));
        }
    }

    #[test]
    fn all_three_must_match() {
        let all = population();
        let mother = all.by_id("099190000025".parse().unwrap()).unwrap();
        let right = Question {
            number: Number::Id(mother.id.unwrap()),
            match_name: "NGUYENTHIMINHANH".into(),
            birth: mother.birth,
        };
        assert_eq!(all.verify(&right).map(|c| c.index), Some(mother.index));
        let by_cmnd = Question { number: Number::Cmnd(mother.cmnd.unwrap()), ..right.clone() };
        assert_eq!(all.verify(&by_cmnd).map(|c| c.index), Some(mother.index));
        for wrong in [
            Question { number: Number::Id("099190999999".parse().unwrap()), ..right.clone() },
            Question { match_name: "NGUYENTHIMINH".into(), ..right.clone() },
            Question { birth: "1990".parse().unwrap(), ..right },
        ] {
            assert!(all.verify(&wrong).is_none());
        }
    }

    #[test]
    fn special_people_answer_as_documented() {
        let all = population();
        let ask = |c: &Citizen, id| {
            let number = Number::Id(id);
            all.verify(&Question { number, match_name: c.name.key(), birth: c.birth }).map(|p| p.index)
        };
        let restricted = all.iter().find(|c| c.restricted).unwrap();
        assert_eq!(ask(restricted, restricted.id.unwrap()), None, "a restricted person is not disclosed");
        let changed = all.iter().find(|c| c.old_id.is_some()).unwrap();
        assert_eq!(ask(changed, changed.old_id.unwrap()), Some(changed.index), "the old id still finds");
        let dead = all.iter().find(|c| c.life == LifeState::Deceased).unwrap();
        assert_eq!(ask(dead, dead.id.unwrap()), Some(dead.index));
        let old = all.iter().find(|c| c.birth.to_string().len() == 4 && c.id.is_some()).unwrap();
        let zeros = format!("{}0000", old.birth.year).parse::<Birth>().unwrap();
        assert_eq!(zeros, old.birth, "a year alone and a year with zeros are one birth");
    }

    #[test]
    fn births_are_read_strictly() {
        for bad in ["", "199", "19901301", "19900132", "1990-3-1", "0000", "199003", "19900312x"] {
            assert_eq!(bad.parse::<Birth>(), Err(()), "{bad}");
        }
    }
}
