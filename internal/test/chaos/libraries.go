//go:build unix

package chaos

import (
	"debug/elf"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
)

var libraryPath = regexp.MustCompile(`=> (/\S+) \(0x`)

// Libraries returns the loader of a program and the files that the loader reports it would load. A static program has
// none.
func Libraries(program string) (loader string, files []string, err error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return "", nil, err
			}
			loader = strings.TrimRight(string(name), "\x00")
		}
	}
	if loader == "" {
		return "", nil, nil
	}
	files, err = Linked(loader, program)
	return loader, files, err
}

// Linked returns the files that a loader would load for a program or a library, without the loader.
func Linked(loader, object string) (files []string, err error) {
	list, err := exec.Command(loader, "--list", object).Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list %s: %w", loader, object, err)
	}
	for _, m := range libraryPath.FindAllSubmatch(list, -1) {
		if name := string(m[1]); name != loader {
			files = append(files, name)
		}
	}
	return files, nil
}
