package redlock_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/session"
)

// scopes are what the Go code of each page takes as given.
var scopes = map[string]string{
	"docs/cache.md": `
import (
	"context"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
)

type User struct{ Name string }

var (
	ctx      context.Context
	c        *cluster.Cluster
	loadUser func(context.Context, int) (User, error)
)
`,
	"docs/choosing.md": `
import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/venta-hq/redlock"
	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/mutex"
	"github.com/venta-hq/redlock/session"
)

var (
	ctx    context.Context
	urls   []string
	c      *cluster.Cluster
	locker *lock.Locker
	leases *lease.Leases
	db     *sql.DB

	ship, schedule, sendInvoices func(context.Context) error
	transfer                     func(ctx context.Context, from, to int64) error
	train                        func(ctx context.Context, slot int) error

	rowsAfter func(ctx context.Context, id []byte) iter.Seq[string]
	loadName  func(context.Context) (string, error)
	write     func(*sql.Tx) error
)
`,
	"docs/jobs.md": `
import (
	"context"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

var (
	ctx    context.Context
	c      *cluster.Cluster
	leases *lease.Leases
	write  func(context.Context) error
	next   job
)

type job struct {
	Order int
	Lease lease.Handle
}

func enqueue(job) error { return nil }
`,
	"docs/observability.md": `
import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/venta-hq/redlock/cluster"
)

var (
	ctx     context.Context
	urls    []string
	meters  metric.MeterProvider
	tracers trace.TracerProvider
	logger  *slog.Logger
)
`,
	"docs/sessions.md": `
import (
	"context"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/session"
)

type Cart []string

var (
	ctx     context.Context
	c       *cluster.Cluster
	id      string
	cart    Cart
	addItem func(context.Context, *session.Session) error
)
`,
	"docs/web.md": `
import (
	"context"
	"net/http"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/web"
)

var (
	ctx      context.Context
	urls     []string
	mux      *http.ServeMux
	userOf   func(*http.Request) string
	isOnCall func(*http.Request) bool
)
`,
}

// elsewhere are the pages whose code needs other modules: it is compiled in
// contrib/fence and in benchmarks.
var elsewhere = []string{"docs/fencing.md", "docs/migrate.md"}

func TestDocs_CodeCompiles(t *testing.T) {
	for _, page := range pages(t) {
		scope, ok := scopes[page]
		switch code := strings.Contains(harness.ReadFile(t, page), "```go\n"); {
		case ok:
			t.Run(page, func(t *testing.T) { harness.CodeCompiles(t, page, "package main\n"+scope+"\nfunc main() {}\n") })
		case code && !slices.Contains(elsewhere, page):
			t.Errorf("the code of %s is compiled by no test", page)
		}
	}
}

// pages are the pages of docs.
func pages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("docs/*.md")
	if err != nil || len(found) < 15 {
		t.Fatalf("there are %d pages (%v)", len(found), err)
	}
	for i := range found {
		found[i] = filepath.ToSlash(found[i])
	}
	return found
}

// atTheRoot are the pages that GitHub looks for at the root of a repository.
var atTheRoot = []string{"CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"}

// Each page says in its first line for whom it is.
func TestDocs_NameTheirReader(t *testing.T) {
	for _, page := range pages(t) {
		if !regexp.MustCompile(`^# .+\n\nFor `).MatchString(harness.ReadFile(t, page)) {
			t.Errorf("%s does not begin with a heading and its reader, as in: For operators who", page)
		}
	}
}

// Text is wrapped at 100 columns. Tables and code are as wide as they must be.
func TestDocs_TextIsWrapped(t *testing.T) {
	for _, page := range append(pages(t), atTheRoot...) {
		text := fenced.ReplaceAllStringFunc(harness.ReadFile(t, page), func(code string) string { return strings.Repeat("\n", strings.Count(code, "\n")) })
		for i, line := range strings.Split(text, "\n") {
			if utf8.RuneCountInString(line) > 100 && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s:%d is longer than 100 columns", page, i+1)
			}
		}
	}
}

// The pages quote the rights that the packages need, in the order of Rights.
func TestDocs_QuoteTheRights(t *testing.T) {
	for page, rules := range map[string]string{
		"docs/deploy.md":   "redlock reset on >password " + cluster.ACL("", false),
		"docs/sessions.md": "redlock reset on >password " + session.ACL("", false),
		"docs/cache.md":    "cache reset on >password " + cache.ACL("", false),
	} {
		text := strings.Join(strings.Fields(harness.ReadFile(t, page)), " ")
		if want := "ACL SETUSER " + rules; !strings.Contains(text, want) {
			t.Errorf("%s does not quote\n%s", page, want)
		}
	}
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
)

// anchors are those that a page can be linked at.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		dropped := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all[strings.ReplaceAll(dropped, " ", "-")] = true
	}
	return all
}

// Links between the pages lead to files and headings that exist.
func TestDocs_LinksLeadSomewhere(t *testing.T) {
	found := 0
	for _, page := range append(pages(t), atTheRoot...) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(harness.ReadFile(t, page), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			file, anchor, anchored := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			linked, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if anchored && !anchors(string(linked))[anchor] {
				t.Errorf("%s links to %s, and there is no such heading", page, m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("the pages have %d links only", found)
	}
}

var (
	testNamed = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9_]*)`")
	fileNamed = regexp.MustCompile("`([a-z0-9_.]+/[a-z0-9_./-]+\\.(?:go|lua|md|sh|txt|yaml|yml))`")
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	// What docs/verification.md says of the tests of other projects.
	outside = regexp.MustCompile(`(?s)\n## Outside suites\n.*?\n## `)
)

// The tests and the files that the pages name exist.
func TestDocs_NameTestsAndFilesThatExist(t *testing.T) {
	declared := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range testFunc.FindAllStringSubmatch(harness.ReadFile(t, path), -1) {
			declared[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tests, files := 0, 0
	for _, page := range append(pages(t), atTheRoot...) {
		text := outside.ReplaceAllString(harness.ReadFile(t, page), "")
		for _, m := range testNamed.FindAllStringSubmatch(text, -1) {
			tests++
			if !declared[m[1]] {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
		for _, m := range fileNamed.FindAllStringSubmatch(text, -1) {
			files++
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s: %v", page, m[1], err)
			}
		}
	}
	if tests < 30 || files < 30 {
		t.Errorf("the pages name %d tests and %d files only", tests, files)
	}
}
