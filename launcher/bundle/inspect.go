package bundle

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// inspectFile looks at the executable at path.
func inspectFile(path, platform string) (*Binary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := inspect(f, info.Size(), platform)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b.Path = path
	return b, nil
}

// inspectBytes looks at an executable in memory.
func inspectBytes(data []byte, platform string) (*Binary, error) {
	b, err := inspect(bytes.NewReader(data), int64(len(data)), platform)
	if err != nil {
		return nil, err
	}
	b.data = data
	return b, nil
}

func inspect(r io.ReaderAt, size int64, platform string) (*Binary, error) {
	switch {
	case size == 0:
		return nil, errors.New("is empty")
	case size > MaxSize:
		return nil, fmt.Errorf("is %d bytes, more than %d", size, MaxSize)
	}
	is, static, err := platformOf(r)
	if err != nil {
		return nil, err
	}
	if is != platform {
		return nil, fmt.Errorf("is for %s, not for %s", is, platform)
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, io.NewSectionReader(r, 0, size)); err != nil || n != size {
		return nil, fmt.Errorf("read %d of %d bytes: %w", n, size, err)
	}
	return &Binary{Platform: platform, Digest: hex.EncodeToString(sum.Sum(nil)), Size: size, Static: static}, nil
}

// elfArch are the names of processors by ELF machine, for little-endian 64-bit files.
var elfArch = map[elf.Machine]string{
	elf.EM_X86_64:    "amd64",
	elf.EM_AARCH64:   "arm64",
	elf.EM_RISCV:     "riscv64",
	elf.EM_PPC64:     "ppc64le",
	elf.EM_LOONGARCH: "loong64",
}

// platformOf says for which platform an executable is and whether it needs no
// dynamic loader. Only Linux has static executables.
func platformOf(r io.ReaderAt) (platform string, static bool, err error) {
	if f, err := elf.NewFile(r); err == nil {
		defer f.Close()
		arch := elfArch[f.Machine]
		switch {
		case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
			return "", false, fmt.Errorf("is not a program but an ELF file of type %v", f.Type)
		case f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX:
			return "", false, fmt.Errorf("is an ELF file for %v, not for Linux", f.OSABI)
		case arch == "" || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB:
			return "", false, fmt.Errorf("is for an unknown processor (%v, %v, %v)", f.Machine, f.Class, f.Data)
		}
		static = true
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				static = false
			}
		}
		return "linux/" + arch, static, nil
	}
	if f, err := macho.NewFile(r); err == nil {
		defer f.Close()
		switch f.Cpu {
		case macho.CpuAmd64:
			return "darwin/amd64", false, nil
		case macho.CpuArm64:
			return "darwin/arm64", false, nil
		}
	}
	if f, err := pe.NewFile(r); err == nil {
		defer f.Close()
		switch f.Machine {
		case pe.IMAGE_FILE_MACHINE_AMD64:
			return "windows/amd64", false, nil
		case pe.IMAGE_FILE_MACHINE_ARM64:
			return "windows/arm64", false, nil
		}
	}
	return "", false, errors.New("is not an executable that we know (ELF, Mach-O, PE)")
}
