//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestNodesFlag_CanBeReadFromAFile(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	file := filepath.Join(t.TempDir(), "nodes")
	if err := os.WriteFile(file, []byte(strings.Join(s.URLs(), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, []string{"redis://127.0.0.1:1"}, "run", "--nodes-file", file, "key", "--", "echo", "ran") // the flag takes precedence
	p.exit(0)
	p.prints("ran")
	p = launch(t, nil, "run", "--nodes-file", file+"-none", "key", "--", "true")
	p.exit(exitUsage)
	p.prints("--nodes-file: .*no such file")
	p = launch(t, nil, "run", "--nodes-file", file, "--nodes", s.URLs()[0], "key", "--", "true")
	p.exit(exitUsage)
	p.prints("give one of them")
}

// A set whose quorum is not the majority is used only with that quorum.
func TestNodesFlag_TheQuorumIsThatOfTheSet(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	for range 2 { // first bootstrapped, then found
		launch(t, s.URLs(), "run", "--quorum", "3", "key", "--", "true").exit(0)
	}
	launch(t, s.URLs(), "nodes", "--quorum", "3").exit(0)
	p := launch(t, s.URLs(), "nodes")
	p.exit(exitNoQuorum)
	p.prints(`unusable`, `cannot be used: belongs to a set of 3 nodes with a quorum of 3 .*, and this process lists 3 nodes with a quorum of 2`)
	for _, q := range []string{"1", "4"} {
		p := launch(t, s.URLs(), "run", "--quorum", q, "key", "--", "true")
		p.exit(exitUsage)
		p.prints(`--quorum ` + q + `: with 3 nodes it must be from 2, a majority, to 3`)
	}
}
