//! What the population register writes about a person: `CongDan` of QCVN 109:2017 as JSON.

use serde::Serialize;

use super::WATERMARK;
use super::citizen::{COMMUNES, Citizen, LifeState, domain};
use super::population::{Population, commune_code, household_name};
use super::rng::Rng;

/// Code of the demo province, "Tỉnh Minh Họa"; no real province has it.
const PROVINCE: &str = "99";

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CongDan {
    so_dinh_danh: Option<String>,
    so_dinh_danh_cu: Option<String>,
    #[serde(rename = "SoCMND")]
    so_cmnd: Option<String>,
    ho_va_ten: HoVaTen,
    gioi_tinh: &'static str,
    dan_toc: String,
    ton_giao: Option<String>,
    tinh_trang_hon_nhan: &'static str,
    nhom_mau: Option<&'static str>,
    ngay_thang_nam_sinh: String,
    quoc_tich: &'static str,
    noi_dang_ky_khai_sinh: NoiO,
    que_quan: NoiO,
    thuong_tru: NoiO,
    noi_o_hien_tai: NoiO,
    cha: Option<NguoiThan>,
    me: Option<NguoiThan>,
    vo_chong: Option<NguoiThan>,
    nguoi_dai_dien: Option<NguoiThan>,
    chu_ho: Option<ChuHo>,
    so_so_ho_khau: Option<String>,
    ma_ho_gia_dinh: String,
    tinh_trang: Coded,
    #[serde(rename = "watermark")]
    watermark: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HoVaTen {
    ho: &'static str,
    chu_dem: Option<&'static str>,
    ten: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NoiO {
    quoc_gia: &'static str,
    ma_tinh_thanh: &'static str,
    ma_quan_huyen: Option<&'static str>,
    ma_phuong_xa: String,
    chi_tiet: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NguoiThan {
    ho_va_ten: String,
    quoc_tich: &'static str,
    so_dinh_danh: Option<String>,
    #[serde(rename = "SoCMND")]
    so_cmnd: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChuHo {
    quan_he: Coded,
    so_dinh_danh: Option<String>,
    #[serde(rename = "SoCMND")]
    so_cmnd: Option<String>,
    ho_va_ten: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Coded {
    ma: &'static str,
    ten: &'static str,
}

/// A household with those members that may be shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HoGiaDinh {
    ma_ho_gia_dinh: String,
    dia_chi: NoiO,
    thanh_vien: Vec<ThanhVien>,
    #[serde(rename = "watermark")]
    watermark: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ThanhVien {
    quan_he: Coded,
    so_dinh_danh: Option<String>,
    #[serde(rename = "SoCMND")]
    so_cmnd: Option<String>,
    ho_va_ten: String,
    ngay_thang_nam_sinh: String,
    gioi_tinh: &'static str,
    tinh_trang: Coded,
    #[serde(rename = "watermark")]
    watermark: &'static str,
}

/// Writes out a person's record; relatives whose records are restricted are left out.
pub(super) fn cong_dan(all: &Population, c: &Citizen) -> CongDan {
    let mut rng = Rng::of(all.seed(), domain::ADDRESS, u64::from(c.index));
    let origin = u32::from(c.commune) + if rng.chance(250) { rng.below(COMMUNES) } else { 0 };
    let away = rng.chance(100).then(|| rng.between(1, COMMUNES));
    let blood = [None, Some("O"), Some("A"), Some("B"), Some("AB")];
    CongDan {
        so_dinh_danh: c.id.map(|id| id.to_string()),
        so_dinh_danh_cu: c.old_id.map(|id| id.to_string()),
        so_cmnd: cmnd(c),
        ho_va_ten: HoVaTen {
            ho: c.name.ho(),
            chu_dem: Some(c.name.chu_dem()).filter(|d| !d.is_empty()),
            ten: c.name.ten(),
        },
        gioi_tinh: c.sex.text(),
        dan_toc: format!("{:02}", c.name.ethnicity()),
        ton_giao: None,
        tinh_trang_hon_nhan: if c.spouse().is_some() { "2" } else { "1" },
        nhom_mau: blood.get(rng.below(5) as usize).copied().flatten(),
        ngay_thang_nam_sinh: c.birth.to_string(),
        quoc_tich: "VN",
        noi_dang_ky_khai_sinh: place(wrap(origin), None),
        que_quan: place(wrap(origin), None),
        thuong_tru: home(all, c),
        noi_o_hien_tai: away.map_or_else(|| home(all, c), |commune| place(commune, None)),
        cha: relative(all, c.father()),
        me: relative(all, c.mother()),
        vo_chong: relative(all, c.spouse()),
        nguoi_dai_dien: relative(all, c.guardian()),
        chu_ho: shown(all, Some(c.head())).map(|head| ChuHo {
            quan_he: relation(c),
            so_dinh_danh: head.id.map(|id| id.to_string()),
            so_cmnd: cmnd(head),
            ho_va_ten: head.name.display(),
        }),
        // The paper book ended with 2022 (vietnam reference §3.1).
        so_so_ho_khau: None,
        ma_ho_gia_dinh: household_name(all.seed(), c),
        tinh_trang: life(c),
        watermark: WATERMARK,
    }
}

/// Writes out a household; `None` when nobody in it may be shown.
pub(super) fn ho_gia_dinh(all: &Population, members: &[&Citizen]) -> Option<HoGiaDinh> {
    let mut open = members.iter().filter(|m| !m.restricted).peekable();
    let first = *open.peek()?;
    Some(HoGiaDinh {
        ma_ho_gia_dinh: household_name(all.seed(), first),
        dia_chi: home(all, first),
        thanh_vien: open
            .map(|m| ThanhVien {
                quan_he: relation(m),
                so_dinh_danh: m.id.map(|id| id.to_string()),
                so_cmnd: cmnd(m),
                ho_va_ten: m.name.display(),
                ngay_thang_nam_sinh: m.birth.to_string(),
                gioi_tinh: m.sex.text(),
                tinh_trang: life(m),
                watermark: WATERMARK,
            })
            .collect(),
        watermark: WATERMARK,
    })
}

fn shown(all: &Population, index: Option<u32>) -> Option<&Citizen> {
    all.citizen(index?).filter(|c| !c.restricted)
}

fn relative(all: &Population, index: Option<u32>) -> Option<NguoiThan> {
    let c = shown(all, index)?;
    Some(NguoiThan {
        ho_va_ten: c.name.display(),
        quoc_tich: "VN",
        so_dinh_danh: c.id.map(|id| id.to_string()),
        so_cmnd: cmnd(c),
    })
}

fn cmnd(c: &Citizen) -> Option<String> {
    c.cmnd.map(|n| format!("{n:09}"))
}

const fn relation(c: &Citizen) -> Coded {
    let (ma, ten) = c.relation.code();
    Coded { ma, ten }
}

const fn life(c: &Citizen) -> Coded {
    match c.life {
        LifeState::Living => Coded { ma: "1", ten: "Đang sống" },
        LifeState::Deceased => Coded { ma: "2", ten: "Đã chết" },
        LifeState::Missing => Coded { ma: "3", ten: "Mất tích" },
    }
}

const fn wrap(commune: u32) -> u32 {
    (commune + COMMUNES - 1) % COMMUNES + 1
}

fn place(commune: u32, chi_tiet: Option<String>) -> NoiO {
    let ma_phuong_xa = commune_code(commune);
    NoiO { quoc_gia: "VN", ma_tinh_thanh: PROVINCE, ma_quan_huyen: None, ma_phuong_xa, chi_tiet }
}

fn home(all: &Population, c: &Citizen) -> NoiO {
    let mut rng = Rng::of(all.seed(), domain::ADDRESS, u64::from(c.head()) | 1 << 32);
    let commune = u32::from(c.commune);
    let (house, hamlet) = (rng.between(1, 250), rng.between(1, 12));
    place(commune, Some(format!("Số {house}, thôn {hamlet}, xã Minh Họa {commune}, tỉnh Minh Họa")))
}
