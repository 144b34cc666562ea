#!/usr/bin/env bash
# Builds the guests and writes their ELFs next to this script (or into the folder given as the only argument).
#
# Needs Debian 12 (bookworm, amd64) with its security archive, a C toolchain (gcc, libc6-dev: build scripts run on the
# host), and cargo's access to crates.io or its cache of the crates in Cargo.lock. Nothing is installed: the compiler,
# cargo, the linker and the standard library's source are Debian packages that are downloaded with apt-get and
# unpacked into a work folder ($GUEST_WORK, default: a temporary one, removed at the end).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=$(realpath -m "${1:-$here}")
target=riscv32im-risc0-zkvm-elf

# The versions that built the checked-in ELF. Others may do, but need not give the same bytes; what the archive has
# dropped is still on snapshot.debian.org.
rust=${RUST_WEB_VERSION:-1.96.0+dfsg1-1~deb12u2}
llvm=${LLVM_VERSION:-1:22.1.8-1~deb12u1}
packages=(
    "rustc-web=$rust" "cargo-web=$rust" "rust-web-src=$rust"
    "libstd-rust-web-dev=$rust" "libstd-rust-web-1.96=$rust"
    "lld-22=$llvm" "libllvm22=$llvm"
    # Shared libraries of these that a small Debian lacks.
    libedit2 libgit2-1.5 libhttp-parser2.9 libmbedcrypto7 libmbedtls14 libmbedx509-1 libssh2-1 libxml2 libz3-4
)

if [[ -n ${GUEST_WORK:-} ]]; then
    mkdir -p "$GUEST_WORK"
    work=$(realpath "$GUEST_WORK")
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
root=$work/root
if [[ ! -x $root/usr/bin/rustc ]]; then
    mkdir -p "$work/debs"
    (cd "$work/debs" && apt-get download "${packages[@]}")
    for package in "$work"/debs/*.deb; do
        dpkg -x "$package" "$root"
    done
fi

# No setting of the caller's cargo or rustc may leak in, CARGO_HOME (the crates' cache) apart.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
for name in $(compgen -e | grep -E '^(CARGO|RUST)'); do
    unset "$name"
done
export CARGO_HOME=$cargo_home
export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu
export RUSTC=$root/usr/bin/rustc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_RISCV32IM_RISC0_ZKVM_ELF_LINKER=$root/usr/lib/llvm-22/bin/ld.lld
# The flags that openvm-build 2.0.2 sets: single-threaded atomics, the program's address, panics that abort.
flags=(
    -C passes=lower-atomic
    -C link-arg=-Ttext=0x00200800
    -C link-arg=--fatal-warnings
    -C panic=abort
    --cfg 'getrandom_backend="custom"'
)
# The messages of panics name source files: without the machine's own paths.
for source in "$CARGO_HOME"/registry/src/*; do
    flags+=(--remap-path-prefix "$source=/crates")
done
flags+=(--remap-path-prefix "$root/usr/lib/rustlib/src/rust=/rust" --remap-path-prefix "$here=/guest")

# cargo tells crates apart by hashes that depend on where their sources lie, and the order of functions depends on those. So rustc gets a hash
# of what a crate is instead.
cat >"$work/rustc" <<'END'
#!/usr/bin/env bash
rustc=$1
shift
arguments=()
for argument; do
    case $argument in
        metadata=*)
            crate="$CARGO_PKG_NAME $CARGO_PKG_VERSION $CARGO_CRATE_NAME"
            argument=metadata=$(sha256sum <<<"$crate" | cut -c 1-16)
            ;;
    esac
    arguments+=("$argument")
done
exec "$rustc" "${arguments[@]}"
END
chmod +x "$work/rustc"
export RUSTC_WRAPPER=$work/rustc

separated=$(printf '%s\x1f' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${separated%$'\x1f'}

mkdir -p "$output"
for package in hash_chain programs; do
    cd "$here/$package"
    "$root/usr/bin/cargo" fetch --locked --quiet
    "$root/usr/bin/cargo" build --release --locked --target "$target" --target-dir "$work/target" \
        -Z build-std=alloc,core -Z build-std-features=compiler-builtins-mem
done
built=$work/target/$target/release
cp "$built/hash-chain" "$output/hash_chain.elf"
for source in "$here"/programs/src/bin/*.rs; do
    name=$(basename "$source" .rs)
    cp "$built/$name" "$output/$name.elf"
done
chmod 644 "$output"/*.elf
(cd "$output" && sha256sum ./*.elf)
