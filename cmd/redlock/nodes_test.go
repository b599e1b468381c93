//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestNodes_CanBeReadFromAFile(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	file := filepath.Join(t.TempDir(), "nodes")
	if err := os.WriteFile(file, []byte(strings.Join(s.URLs(), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, []string{"redis://127.0.0.1:1"}, "run", "--nodes-file", file, "key", "--", "echo", "ran") // the flag comes first
	p.exit(0)
	p.prints("ran")
	p = launch(t, nil, "run", "--nodes-file", file+"-none", "key", "--", "true")
	p.exit(exitUsage)
	p.prints("--nodes-file: .*no such file")
	p = launch(t, nil, "run", "--nodes-file", file, "--nodes", s.URLs()[0], "key", "--", "true")
	p.exit(exitUsage)
	p.prints("give one of them")
}

// A set whose quorum is no majority is used with that quorum alone.
func TestNodes_TheQuorumOfTheSet(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	for range 2 { // it is bootstrapped, and found
		launch(t, s.URLs(), "run", "--quorum", "3", "key", "--", "true").exit(0)
	}
	launch(t, s.URLs(), "nodes", "--quorum", "3").exit(0)
	p := launch(t, s.URLs(), "nodes")
	p.exit(exitNoQuorum)
	p.prints(`unusable`, `can not be used: belongs to a set of 3 nodes with a quorum of 3 .*, and this process lists 3 nodes with a quorum of 2`)
	for _, q := range []string{"1", "4"} {
		p := launch(t, s.URLs(), "run", "--quorum", q, "key", "--", "true")
		p.exit(exitUsage)
		p.prints(`--quorum ` + q + `: of 3 nodes it is from 2, a majority, to 3`)
	}
}

// The URLs may hold passwords, and the command need not know them.
func TestNodes_AreNotPassedToTheCommand(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	const show = `echo "nodes: $REDLOCK_NODES."`
	for _, args := range [][]string{{"run", "key"}, {"run", "--once", "key"}, {"campaign", "key"}} {
		p := launch(t, s.URLs(), append(args, "--", "sh", "-c", show)...)
		p.exit(0)
		p.prints(`nodes: \.`)
	}
	p := launch(t, s.URLs(), "run", "--pass-nodes", "key", "--", "sh", "-c", show)
	p.exit(0)
	p.prints(`nodes: redis://`)
}

func TestOnce_AFinishedJobIsSeenAndForgotten(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		once := func(job, want string) {
			t.Helper()
			p := launch(t, s.URLs(), "run", "--once", "--owner", "nightly", job, "--", "echo", "ran")
			p.exit(0)
			if got := p.stdout.String(); got != want {
				t.Errorf("%s printed %q, want %q", job, got, want)
			}
		}
		once("report", "ran\n")
		once("repair{7}", "ran\n")
		p := launch(t, s.URLs(), "once", "ls")
		p.exit(0)
		p.prints(`report +\S+ ago +nightly`, `repair\{7\} +\S+ ago +nightly`, `2 jobs are done`)
		p = launch(t, s.URLs(), "once", "ls", "repo", "-o", "json")
		p.exit(0)
		if docs := decode[[]jobDoc](t, p); len(docs) != 1 || docs[0].Job != "report" || docs[0].Owner != "nightly" || docs[0].Token == 0 {
			t.Errorf("%+v", docs)
		}
		p = launch(t, s.URLs(), "inspect", "once:report")
		p.exit(exitNobody)
		p.prints(`The job was done \S+ ago by nightly`)
		p = launch(t, s.URLs(), "once", "forget", "report")
		p.exit(0)
		p = launch(t, s.URLs(), "once", "forget", "report")
		p.exit(exitNobody)
		p.prints(`not known to be done`)
		once("report", "ran\n")
		once("repair{7}", "")
	})
}
