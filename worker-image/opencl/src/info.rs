//! Questions to the driver: which devices there are, what they can hold, what a kernel's parameters are.

use ocl::core::{
    self, DeviceId, DeviceInfo, DeviceInfoResult, DeviceType, KernelArgAddressQualifier, KernelArgInfo,
    KernelArgInfoResult, KernelArgTypeQualifier, KernelInfo, KernelInfoResult, PlatformId, PlatformInfo,
};
use orion_protocol::statements::Commitment;

use super::failed;
use orion_engine::device::{DeviceError, Limits, Param, Space};

/// More devices than this on one platform are not looked at.
const MAX_DEVICES: u32 = 64;

/// The first GPU of any platform, else the first device of any kind.
pub(super) fn pick() -> Result<(PlatformId, DeviceId), DeviceError> {
    let platforms = core::get_platform_ids().map_err(|error| DeviceError::NoDevice(error.to_string()))?;
    for kind in [DeviceType::GPU, DeviceType::ALL] {
        for platform in &platforms {
            // A platform without such a device answers with an error.
            let devices = core::get_device_ids(platform, Some(kind), Some(MAX_DEVICES)).unwrap_or_default();
            if let Some(device) = devices.first() {
                return Ok((*platform, *device));
            }
        }
    }
    Err(DeviceError::NoDevice(format!("none of {} platforms has one", platforms.len())))
}

/// What the device can hold and run.
pub(super) fn limits(device: DeviceId) -> Result<Limits, DeviceError> {
    let ask = |what| core::get_device_info(device, what).map_err(failed("ask for the device's limits"));
    let number = |what| {
        Ok::<u64, DeviceError>(match ask(what)? {
            DeviceInfoResult::MaxMemAllocSize(n)
            | DeviceInfoResult::GlobalMemSize(n)
            | DeviceInfoResult::LocalMemSize(n) => n,
            DeviceInfoResult::MaxWorkGroupSize(n) => n as u64,
            DeviceInfoResult::MaxComputeUnits(n) | DeviceInfoResult::NativeVectorWidthFloat(n) => u64::from(n),
            _ => 1,
        })
    };
    let group = number(DeviceInfo::MaxWorkGroupSize)?;
    let group_dims = match ask(DeviceInfo::MaxWorkItemSizes)? {
        DeviceInfoResult::MaxWorkItemSizes(sizes) => [0, 1, 2].map(|at| sizes.get(at).map_or(1, |size| *size as u64)),
        _ => [group, 1, 1],
    };
    Ok(Limits {
        buffer_bytes: number(DeviceInfo::MaxMemAllocSize)?,
        memory_bytes: number(DeviceInfo::GlobalMemSize)?,
        local_bytes: number(DeviceInfo::LocalMemSize)?,
        group,
        group_dims,
        compute_units: number(DeviceInfo::MaxComputeUnits)?.max(1),
        lanes: u32::try_from(number(DeviceInfo::NativeVectorWidthFloat)?).unwrap_or(1),
    })
}

/// Platform, driver version and device name: printable ASCII, at most [`Commitment::MAX_DRIVER`] bytes.
pub(super) fn driver(platform: PlatformId, device: DeviceId) -> Result<String, DeviceError> {
    let device_text = |what| core::get_device_info(device, what).map_err(failed("ask for the device's name"));
    let name = core::get_platform_info(platform, PlatformInfo::Name).map_err(failed("ask for the platform's name"))?;
    let version = device_text(DeviceInfo::DriverVersion)?;
    let text = format!("{name}; {version}; {}", device_text(DeviceInfo::Name)?);
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_graphic()).filter(|word| !word.is_empty()).collect();
    let mut text = words.join(" ");
    text.truncate(Commitment::MAX_DRIVER);
    Ok(text)
}

/// The kernel's parameters, in order.
pub(super) fn params(kernel: &core::Kernel) -> Result<Vec<Param>, DeviceError> {
    const DOING: &str = "ask for the kernel's parameters";
    let count = match core::get_kernel_info(kernel, KernelInfo::NumArgs).map_err(failed(DOING))? {
        KernelInfoResult::NumArgs(count) => count,
        _ => 0,
    };
    (0..count).map(|index| param(kernel, index)).collect()
}

fn param(kernel: &core::Kernel, index: u32) -> Result<Param, DeviceError> {
    const DOING: &str = "ask for a kernel parameter";
    let ask = |what| core::get_kernel_arg_info(kernel, index, what, None).map_err(failed(DOING));
    let text = |what| {
        Ok::<String, DeviceError>(match ask(what)? {
            KernelArgInfoResult::Name(text) | KernelArgInfoResult::TypeName(text) => {
                text.trim_matches(['\0', ' ']).to_owned()
            }
            _ => String::new(),
        })
    };
    let space = match ask(KernelArgInfo::AddressQualifier)? {
        KernelArgInfoResult::AddressQualifier(KernelArgAddressQualifier::Global) => Space::Global,
        KernelArgInfoResult::AddressQualifier(KernelArgAddressQualifier::Constant) => Space::Constant,
        KernelArgInfoResult::AddressQualifier(KernelArgAddressQualifier::Local) => Space::Local,
        _ => Space::Private,
    };
    let is_const = match ask(KernelArgInfo::TypeQualifier)? {
        KernelArgInfoResult::TypeQualifier(qualifier) => qualifier.contains(KernelArgTypeQualifier::CONST),
        _ => false,
    };
    Ok(Param { name: text(KernelArgInfo::Name)?, type_name: text(KernelArgInfo::TypeName)?, space, is_const })
}
