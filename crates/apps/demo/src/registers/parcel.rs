//! Synthetic parcels of land and who owns them (vietnam reference §3.3).

use serde::Serialize;

use super::WATERMARK;
use super::citizen::{COMMUNES, Citizen, CitizenId, domain};
use super::population::{Population, commune_code};
use super::rng::Rng;
use super::showcase::SHOWCASE;

/// Sheets per commune; parcels are dealt out over communes, then sheets, so that the triple
/// (commune, sheet, parcel number) never repeats.
const SHEETS: u32 = 60;
const SHARED: u8 = 1;
const MORTGAGED: u8 = 2;
const DISPUTED: u8 = 4;
const PLANNED: u8 = 8;
const ENDED: u8 = 16;

/// Use codes with what they mean and their size in square metres.
const USES: &[(&str, &str, u32, u32)] = &[
    ("ONT", "Đất ở tại nông thôn", 60, 500),
    ("ODT", "Đất ở tại đô thị", 30, 250),
    ("LUC", "Đất chuyên trồng lúa nước", 200, 3_000),
    ("CLN", "Đất trồng cây lâu năm", 200, 5_000),
    ("SKC", "Đất cơ sở sản xuất phi nông nghiệp", 800, 20_000),
];

/// A parcel in some twenty bytes.
#[derive(Debug, Clone, Copy)]
struct Parcel {
    owner: u32,
    /// Tenths of a square metre.
    area: u32,
    since: (u16, u8, u8),
    purpose: u8,
    flags: u8,
}

/// All parcels of a seed with their owners.
#[derive(Debug)]
pub(super) struct Cadastre {
    people: Population,
    parcels: Vec<Parcel>,
    /// (owner, parcel), sorted.
    owned: Vec<(u32, u32)>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThuaDat {
    ma_thua_dat: String,
    ma_xa: String,
    so_hieu_to_ban_do: u32,
    so_thu_tu_thua: u32,
    so_hieu_to_ban_do_cu: Option<u32>,
    so_thu_tu_thua_cu: Option<u32>,
    dien_tich: f64,
    dien_tich_phap_ly: f64,
    ky_hieu_muc_dich_su_dung: &'static str,
    ten_muc_dich_su_dung: &'static str,
    dia_chi: String,
    chu_su_dung: Vec<ChuSuDung>,
    giay_chung_nhan: GiayChungNhan,
    han_che: Vec<HanChe>,
    hieu_luc_tu: String,
    hieu_luc_den: Option<String>,
    watermark: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChuSuDung {
    so_dinh_danh: Option<String>,
    ho_va_ten: String,
    nam_sinh: u16,
    ty_le: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GiayChungNhan {
    so_phat_hanh: String,
    so_vao_so: String,
    so_ho_so_goc: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HanChe {
    loai: &'static str,
    mo_ta: &'static str,
}

impl Cadastre {
    /// Makes `count` parcels owned by `people`.
    pub(super) fn generate(people: Population, count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let parcels: Vec<_> = (0..count).map(|number| parcel(&people, number)).collect();
        let mut owned = Vec::with_capacity(parcels.len() * 3 / 2);
        for (number, parcel) in (0_u32..).zip(&parcels) {
            owned.push((parcel.owner, number));
            owned.extend(partner(&people, parcel).map(|partner| (partner.index, number)));
        }
        owned.sort_unstable();
        Self { people, parcels, owned }
    }

    pub(super) fn len(&self) -> usize {
        self.parcels.len()
    }

    /// The parcels that `owner` holds today; none for an unknown id, alike.
    pub(super) fn owned_by(&self, owner: CitizenId) -> Vec<ThuaDat> {
        let Some(person) = self.people.by_id(owner) else { return Vec::new() };
        let from = self.owned.partition_point(|(index, _)| *index < person.index);
        let mine = self.owned.iter().skip(from).take_while(|(index, _)| *index == person.index);
        mine.filter(|(_, n)| self.parcels.get(*n as usize).is_some_and(|p| p.flags & ENDED == 0))
            .filter_map(|(_, number)| self.record(*number))
            .collect()
    }

    /// The parcel of an id like `ZZDEMO000001`.
    pub(super) fn by_id(&self, id: &str) -> Option<ThuaDat> {
        self.record(parcel_number(id)?)
    }

    fn record(&self, number: u32) -> Option<ThuaDat> {
        let parcel = self.parcels.get(number as usize)?;
        let owner = self.people.citizen(parcel.owner)?;
        let partner = partner(&self.people, parcel);
        let share = if partner.is_some() { "1/2" } else { "1/1" };
        let (symbol, meaning, ..) = USES.get(usize::from(parcel.purpose)).copied()?;
        let (sheet, plot) = (1 + number / COMMUNES % SHEETS, 1 + number / COMMUNES / SHEETS);
        let commune = 1 + number % COMMUNES;
        let resurveyed = number.is_multiple_of(3);
        let (year, month, day) = parcel.since;
        let serial = number + 1;
        Some(ThuaDat {
            ma_thua_dat: format!("ZZDEMO{serial:06}"),
            ma_xa: commune_code(commune),
            so_hieu_to_ban_do: sheet,
            so_thu_tu_thua: plot,
            so_hieu_to_ban_do_cu: resurveyed.then_some(SHEETS + 1 - sheet),
            so_thu_tu_thua_cu: resurveyed.then_some(plot + 7),
            dien_tich: f64::from(parcel.area) / 10.0,
            // The paper may round what the survey measured.
            dien_tich_phap_ly: f64::from(if resurveyed { parcel.area / 10 * 10 } else { parcel.area }) / 10.0,
            ky_hieu_muc_dich_su_dung: symbol,
            ten_muc_dich_su_dung: meaning,
            dia_chi: format!("Thửa {plot}, tờ bản đồ {sheet}, xã Minh Họa {commune}, tỉnh Minh Họa"),
            chu_su_dung: [Some(owner), partner].into_iter().flatten().map(|c| holder(c, share)).collect(),
            giay_chung_nhan: GiayChungNhan {
                so_phat_hanh: format!("ZZ {serial:08}"),
                so_vao_so: format!("CS {serial:05}"),
                so_ho_so_goc: format!("HS-{serial:06}"),
            },
            han_che: restrictions(parcel.flags),
            hieu_luc_tu: format!("{year:04}-{month:02}-{day:02}"),
            hieu_luc_den: (parcel.flags & ENDED != 0).then(|| "2025-06-30".to_owned()),
            watermark: WATERMARK,
        })
    }
}

/// The place of a parcel id, if it is written like one.
pub(super) fn parcel_number(id: &str) -> Option<u32> {
    let digits =
        id.strip_prefix("ZZDEMO").filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse::<u32>().ok()?.checked_sub(1)
}

fn holder(c: &Citizen, ty_le: &'static str) -> ChuSuDung {
    let so_dinh_danh = c.id.map(|id| id.to_string());
    ChuSuDung { so_dinh_danh, ho_va_ten: c.name.display(), nam_sinh: c.birth.year, ty_le }
}

fn restrictions(flags: u8) -> Vec<HanChe> {
    [
        (MORTGAGED, "the-chap", "Đang thế chấp tại tổ chức tín dụng"),
        (DISPUTED, "tranh-chap", "Đang có tranh chấp"),
        (PLANNED, "quy-hoach", "Nằm trong quy hoạch"),
    ]
    .into_iter()
    .filter(|(flag, ..)| flags & flag != 0)
    .map(|(_, loai, mo_ta)| HanChe { loai, mo_ta })
    .collect()
}

/// The spouse who holds the other half.
fn partner<'a>(people: &'a Population, parcel: &Parcel) -> Option<&'a Citizen> {
    let shared = parcel.flags & SHARED != 0;
    people.citizen(people.citizen(parcel.owner)?.spouse()?).filter(|c| shared && c.is_plain_adult())
}

fn parcel(people: &Population, number: u32) -> Parcel {
    let mut rng = Rng::of(people.seed(), domain::PARCEL, u64::from(number));
    let purpose = match rng.below(100) {
        0..35 => 0,
        35..55 => 1,
        55..75 => 2,
        75..95 => 3,
        _ => 4_u8,
    };
    let (.., low, high) = USES[usize::from(purpose)];
    let area = rng.between(low * 10, high * 10);
    let since = (rng.between(1994, 2024) as u16, rng.between(1, 12) as u8, rng.between(1, 28) as u8);
    let mut flags = 0;
    for (flag, per_mille) in [(SHARED, 600), (MORTGAGED, 120), (DISPUTED, 20), (PLANNED, 50), (ENDED, 30)] {
        if rng.chance(per_mille) {
            flags |= flag;
        }
    }
    let owner = match number {
        // The story's citizen holds one parcel alone and one with her husband.
        0 | 1 => {
            flags = if number == 0 { 0 } else { SHARED | MORTGAGED };
            SHOWCASE
        }
        _ => owner(people, &mut rng),
    };
    let since = if number < 2 { (2019, 5, 20) } else { since };
    Parcel { owner, area, since, purpose, flags }
}

/// An adult of the population; walks on from a random place, ending at the named ones at the latest.
fn owner(people: &Population, rng: &mut Rng) -> u32 {
    let count = u32::try_from(people.len()).unwrap_or(u32::MAX).max(1);
    let start = rng.below(count);
    let mut walk = (start..count).chain(0..start);
    walk.find(|i| people.citizen(*i).is_some_and(Citizen::is_plain_adult)).unwrap_or(SHOWCASE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::showcase::showcase;
    use super::*;

    fn cadastre(seed: u64) -> Cadastre {
        Cadastre::generate(Population::generate(seed, 2_000), 1_500)
    }

    #[test]
    fn the_showcase_owns_at_least_two_parcels() {
        for seed in [0, 1, 20_260_101] {
            let shown = showcase(seed);
            assert_eq!(shown.match_name, "NGUYENTHIMINHANH");
            let id = shown.id.parse().unwrap();
            let land = cadastre(seed);
            assert!(land.people.by_id(id).unwrap().is_plain_adult());
            let parcels = land.owned_by(id);
            assert!(parcels.len() >= 2);
            assert_eq!(parcels[0].ma_thua_dat, "ZZDEMO000001");
            assert_eq!(parcels[1].chu_su_dung.len(), 2);
        }
    }

    #[test]
    fn records_are_well_formed_and_distinct() {
        let land = cadastre(7);
        let mut triples = HashSet::new();
        for number in 0..land.len() as u32 {
            let p = land.record(number).unwrap();
            assert_eq!(p.ma_thua_dat.len(), 12);
            assert_eq!(p.ma_xa.len(), 5);
            assert!(p.ma_xa.starts_with("99"));
            assert!((1..=999).contains(&p.so_hieu_to_ban_do) && (1..=9999).contains(&p.so_thu_tu_thua));
            assert!(triples.insert((p.ma_xa.clone(), p.so_hieu_to_ban_do, p.so_thu_tu_thua)));
            assert_eq!(p.giay_chung_nhan.so_phat_hanh.len(), 11);
            assert_eq!(p.watermark, WATERMARK);
            assert!(p.chu_su_dung.iter().all(|o| o.so_dinh_danh.as_ref().unwrap().starts_with("099")));
            assert_eq!(parcel_number(&p.ma_thua_dat), Some(number));
            let holder = land.people.citizen(land.parcels[number as usize].owner).unwrap();
            assert!(holder.is_plain_adult());
            let listed = land.owned_by(holder.id.unwrap());
            assert_eq!(listed.iter().any(|l| l.ma_thua_dat == p.ma_thua_dat), p.hieu_luc_den.is_none());
        }
        assert!((0..1_500).any(|n| !land.record(n).unwrap().han_che.is_empty()));
    }

    #[test]
    fn unknown_owners_and_parcels_have_nothing() {
        let land = cadastre(7);
        assert!(land.owned_by("099000999999".parse().unwrap()).is_empty());
        for bad in ["ZZDEMO000000", "ZZDEMO999999", "ZZDEMO+00001", "DEMO", "ZZDEMOé0001"] {
            assert!(land.by_id(bad).is_none(), "{bad}");
        }
    }
}
