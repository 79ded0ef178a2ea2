//! How synthetic citizens are made, from the seed and their place alone.
//!
//! Citizens come in blocks of four: one to two households whose members are related. The blocks
//! whose number leaves one of the remainders of [`Edge`] hold the edge cases, so each exists once
//! in every 256 citizens.

use super::citizen::{Birth, COMMUNES, Citizen, CitizenId, LifeState, NONE, Relation, SERIALS, Sex, domain};
use super::names::Name;
use super::rng::{Rng, permute};

/// Citizens made together.
pub(super) const BLOCK: u32 = 4;

/// What the blocks of a remainder (block number modulo 64) are for; it shows in their first slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    IdChanged = 1,
    NoMiddleName = 2,
    LongName = 3,
    Deceased = 4,
    Restricted = 5,
    YearOnly = 6,
    NoDay = 7,
    CmndOnly = 8,
    GuardedMinor = 9,
    Missing = 10,
    Twin = 12,
}

const EDGES: u32 = 64;

type Roles = [(u8, Relation); 4];

/// (slot of the household's head, relation) for each of the four.
fn roles(rng: &mut Rng, guarded: bool) -> Roles {
    use Relation::{Child, Head, Parent, Spouse, Ward};
    if guarded {
        return [(0, Head), (0, Ward), (2, Head), (2, Spouse)];
    }
    match rng.below(100) {
        0..50 => [(0, Head), (0, Spouse), (0, Child), (0, Child)],
        50..70 => [(0, Head), (0, Spouse), (0, Child), (0, Parent)],
        70..80 => [(0, Head), (1, Head), (1, Spouse), (1, Child)],
        80..90 => [(0, Head), (0, Spouse), (2, Head), (2, Spouse)],
        _ => [(0, Head), (0, Child), (2, Head), (2, Spouse)],
    }
}

/// The four citizens of block `number`.
pub(super) fn block(seed: u64, number: u32) -> [Citizen; 4] {
    if number == 0 {
        return named_family(seed);
    }
    let mut rng = Rng::of(seed, domain::BLOCK, u64::from(number));
    let is = |edge: Edge| number % EDGES == edge as u32;
    let roles = roles(&mut rng, is(Edge::GuardedMinor));
    let group = Name::draw_group(&mut rng);
    let mut people = [blank(number * BLOCK); 4];
    for slot in 0..4_u8 {
        let elder = slot == 0 && (is(Edge::YearOnly) || is(Edge::NoDay) || is(Edge::CmndOnly));
        people[usize::from(slot)] = member(&mut rng, group, &people, slot, roles, elder);
    }
    apply_edge(seed, number, &mut people);
    for person in &mut people {
        finish(seed, &mut rng, person, is(Edge::CmndOnly), is(Edge::IdChanged));
    }
    appoint_guardians(&mut people);
    people
}

const fn blank(index: u32) -> Citizen {
    Citizen {
        index,
        id: None,
        old_id: None,
        cmnd: None,
        name: Name::long(Sex::Male),
        sex: Sex::Male,
        birth: Birth { year: 1970, month: 1, day: 1 },
        life: LifeState::Living,
        restricted: false,
        relation: Relation::Head,
        commune: 1,
        household: 0,
        father: NONE,
        mother: NONE,
        spouse: NONE,
        guardian: NONE,
    }
}

/// One member, given those of lower slots; a head always comes before its household.
fn member(rng: &mut Rng, group: u8, so_far: &[Citizen; 4], slot: u8, roles: Roles, elder: bool) -> Citizen {
    let (head_slot, relation) = roles[usize::from(slot)];
    let head = so_far[usize::from(head_slot)];
    let spouse_slot = head_slot + 1;
    let couple = roles.get(usize::from(spouse_slot)).is_some_and(|r| *r == (head_slot, Relation::Spouse));
    let head_year = u32::from(head.birth.year);
    let (sex, year) = match relation {
        Relation::Spouse => (head.sex.other(), rng.between(head_year - 4, head_year + 4)),
        Relation::Child => (any_sex(rng), rng.between(head_year + 24, head_year + 34).min(2025)),
        Relation::Parent => (any_sex(rng), rng.between(head_year - 30, head_year - 22)),
        Relation::Ward => (any_sex(rng), rng.between(2010, 2024)),
        Relation::Head if elder => (any_sex(rng), rng.between(1930, 1944)),
        Relation::Head | Relation::Sibling => {
            (if rng.chance(700) { Sex::Male } else { Sex::Female }, rng.between(1946, 1998))
        }
    };
    let mut person = blank(head.index - head.index % BLOCK + u32::from(slot));
    person.sex = sex;
    person.birth = draw_birth(rng, year as u16);
    person.name = Name::draw(rng, group, sex);
    person.relation = relation;
    person.household = head_slot;
    person.commune = if relation == Relation::Head { rng.between(1, COMMUNES) as u8 } else { head.commune };
    match relation {
        Relation::Child => {
            let other = if couple { spouse_slot } else { NONE };
            let parents = if head.sex == Sex::Male { (head_slot, other) } else { (other, head_slot) };
            (person.father, person.mother) = parents;
            let heir_of = if parents.0 == NONE { parents.1 } else { parents.0 };
            person.name = person.name.child_of(so_far[usize::from(heir_of)].name);
        }
        Relation::Parent if sex == Sex::Male => person.name = person.name.child_of(head.name),
        Relation::Spouse => person.spouse = head_slot,
        Relation::Head if couple => person.spouse = spouse_slot,
        _ => {}
    }
    if !person.is_adult() {
        person.guardian = head_slot;
    }
    person
}

fn any_sex(rng: &mut Rng) -> Sex {
    if rng.chance(500) { Sex::Male } else { Sex::Female }
}

/// Old records may know the year only, or no day.
fn draw_birth(rng: &mut Rng, year: u16) -> Birth {
    let (month, day, luck) = (rng.between(1, 12) as u8, rng.between(1, 28) as u8, rng.below(100));
    match luck {
        0..8 if year < 1960 => Birth { year, month: 0, day: 0 },
        8..11 if year < 1960 => Birth { year, month, day: 0 },
        _ => Birth { year, month, day },
    }
}

/// Gives the block's first citizen (of a guarded minor: the second) what the edge case needs.
fn apply_edge(seed: u64, number: u32, people: &mut [Citizen; 4]) {
    let is = |edge: Edge| number % EDGES == edge as u32;
    let first = &mut people[0];
    if is(Edge::NoMiddleName) {
        first.name = first.name.without_middle();
    } else if is(Edge::LongName) {
        first.name = Name::long(first.sex);
    } else if is(Edge::Deceased) {
        first.life = LifeState::Deceased;
    } else if is(Edge::Restricted) {
        first.restricted = true;
    } else if is(Edge::YearOnly) {
        (first.birth.month, first.birth.day) = (0, 0);
    } else if is(Edge::NoDay) {
        first.birth = Birth { month: first.birth.month.max(1), day: 0, ..first.birth };
    } else if is(Edge::Missing) {
        first.life = LifeState::Missing;
    } else if is(Edge::Twin) {
        let twin = block(seed, number - 1)[0];
        (first.name, first.sex, first.birth) = (twin.name, twin.sex, twin.birth);
        // The couple and the children were drawn for another person.
        unbind(people);
    }
}

/// The first citizen alone in its household, with no relatives; the rest become another one.
fn unbind(people: &mut [Citizen; 4]) {
    let commune = people[0].commune;
    for (slot, person) in (0_u8..).zip(people.iter_mut()) {
        (person.father, person.mother, person.spouse, person.guardian) = (NONE, NONE, NONE, NONE);
        (person.household, person.relation) = (slot, Relation::Head);
        if !person.is_adult() {
            // No child heads a household: the first takes it in.
            (person.household, person.relation, person.guardian) = (0, Relation::Ward, 0);
            person.commune = commune;
        }
    }
}

/// Numbers and fates, once sex and birth are settled.
fn finish(seed: u64, rng: &mut Rng, person: &mut Citizen, cmnd_only_block: bool, changed_block: bool) {
    let first = person.index.is_multiple_of(BLOCK);
    let ordinary = !matches!(person.relation, Relation::Ward | Relation::Head);
    let (fate, luck) = (rng.below(1000), rng.chance(600));
    if ordinary {
        let dead = match person.birth.year {
            ..1925 => 1000,
            1925..1950 => 100,
            _ => 5,
        };
        if fate < dead {
            person.life = LifeState::Deceased;
        } else if fate >= 998 {
            person.restricted = true;
        }
    }
    number(seed, person, first && changed_block);
    if person.birth.year <= 2002 && (luck || first && cmnd_only_block) {
        person.cmnd = Some(cmnd(seed, person.index));
    }
    if first && cmnd_only_block {
        person.id = None;
    }
}

/// A minor whose household's head cannot act gets the other parent, if there is one.
fn appoint_guardians(people: &mut [Citizen; 4]) {
    let able = people.map(|p| p.life == LifeState::Living && p.is_adult());
    let able = |slot: u8| able.get(usize::from(slot)) == Some(&true);
    for person in people {
        let choices = [person.guardian, person.mother, person.father];
        if person.guardian != NONE {
            person.guardian = choices.into_iter().find(|slot| able(*slot)).unwrap_or(NONE);
        }
    }
}

fn number(seed: u64, person: &mut Citizen, changed: bool) {
    // Serials below 1000 are the named citizens'; even ones are current, odd ones were changed.
    let place = permute(seed, domain::SERIAL, 104_729, SERIALS, u64::from(person.index)) as u32;
    let id = |serial| CitizenId::demo(person.sex, person.birth.year, serial);
    (person.id, person.old_id) = (Some(id(1000 + 2 * place)), changed.then(|| id(1001 + 2 * place)));
}

fn cmnd(seed: u64, index: u32) -> u32 {
    990_000_000 + permute(seed, domain::CMND, 7_368_787, 10_000_000, u64::from(index)) as u32
}

/// Seven digits that cannot be counted through: callers have to know them.
pub(super) fn household_number(seed: u64, head: u32) -> u32 {
    1 + permute(seed, domain::HOUSEHOLD, 6_700_417, 9_999_999, u64::from(head)) as u32
}

/// The four citizens whose ids stand in the documentation; the same under every seed.
fn named_family(seed: u64) -> [Citizen; 4] {
    use Sex::{Female, Male};
    let person = |slot: u8, serial, name, sex, (year, month, day), relation| Citizen {
        index: u32::from(slot),
        id: Some(CitizenId::demo(sex, year, serial)),
        name,
        sex,
        birth: Birth { year, month, day },
        relation,
        ..blank(0)
    };
    let mut father =
        person(0, 11, Name::kinh(Male, "Trần", "Quang", "Huy"), Male, (1985, 8, 14), Relation::Head);
    let mut mother = person(
        1,
        25,
        Name::kinh(Female, "Nguyễn", "Thị Minh", "Anh"),
        Female,
        (1990, 3, 12),
        Relation::Spouse,
    );
    let uncle =
        person(2, 38, Name::kinh(Male, "Trần", "Đức", "Long"), Male, (2003, 11, 25), Relation::Sibling);
    let mut daughter =
        person(3, 41, Name::kinh(Female, "Trần", "Khánh", "Linh"), Female, (2012, 6, 1), Relation::Child);
    (father.spouse, mother.spouse) = (1, 0);
    (father.cmnd, mother.cmnd) = (Some(cmnd(seed, 0)), Some(cmnd(seed, 1)));
    (daughter.father, daughter.mother, daughter.guardian) = (0, 1, 0);
    [father, mother, uncle, daughter]
}
