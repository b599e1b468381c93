package redlock_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

var (
	said   = regexp.MustCompile(`\.(?:Say|sayOf)\((?:\w+, )?slog\.Level(\w+), "([^"]+)"`)
	listed = regexp.MustCompile(`(?m)^\| ([^|]+) \| (error|warning|info) \| [^|]+ \|$`)
)

// docs/observability.md lists every log line of the packages with its level, and
// no other. It may cut a line short, with "…".
func TestObservability_ListsEveryLogLine(t *testing.T) {
	_, table, _ := strings.Cut(harness.ReadFile(t, "docs/observability.md"), "\n## Log lines\n")
	table, _, _ = strings.Cut(table, "\n## ")
	unseen := map[string]string{} // level
	for _, row := range listed.FindAllStringSubmatch(table, -1) {
		unseen[row[1]] = row[2]
	}
	rows := maps.Clone(unseen)
	levels := map[string]string{"Error": "error", "Warn": "warning", "Info": "info"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, call := range said.FindAllStringSubmatch(string(source), -1) {
			row, ok := rowOf(rows, call[2])
			if !ok || rows[row] != levels[call[1]] {
				t.Errorf("%s: %q of the level %s is not in the table", path, call[2], call[1])
			}
			delete(unseen, row)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for row := range unseen {
		t.Errorf("no package logs %q", row)
	}
}

// rowOf is the row about a log line.
func rowOf(rows map[string]string, line string) (string, bool) {
	all := slices.Collect(maps.Keys(rows))
	i := slices.IndexFunc(all, func(row string) bool {
		short, cut := strings.CutSuffix(row, "…")
		return line == row || cut && strings.HasPrefix(line, strings.TrimSuffix(short, " "))
	})
	if i < 0 {
		return "", false
	}
	return all[i], true
}
