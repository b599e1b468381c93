package cluster

import (
	"go/doc/comment"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// The package comment quotes the rule, in the order of Rights.
func TestThePackageCommentQuotesTheRights(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	want := "ACL SETUSER redlock reset on >password " + ACL("", false)
	for _, block := range new(comment.Parser).Parse(file.Doc.Text()).Content {
		if code, ok := block.(*comment.Code); ok && strings.Join(strings.Fields(code.Text), " ") == want {
			return
		}
	}
	t.Errorf("the package comment does not quote\n%s", want)
}

func TestAPrefixIsNoPattern(t *testing.T) {
	t.Parallel()
	if got, want := Rights(`a*b?[\`)[1].Rule, `~{a\*b\?\[\\*`; got != want {
		t.Errorf("the rule is %s, want %s", got, want)
	}
	s := harness.Real(t, 1, redisserver.Options{})
	admin := harness.Client(t, s, 0)
	args := []any{"acl", "setuser", "redlock", "reset", "on", "nopass"}
	for rule := range strings.FieldsSeq(ACL(`a*b[c]:`, false)) {
		args = append(args, rule)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, Config{URLs: []string{strings.Replace(s.URLs()[0], "//", "//redlock:x@", 1)}})
	for key, allowed := range map[string]bool{"a*b[c]:x": true, "{a*b[c]:x}:fence": true, "aab[c]:x": false, "a*bc:x": false} {
		if a := run(t, c.Nodes()[0], setScript, []string{key}, "x"); (a.err == nil) != allowed {
			t.Errorf("%s: %v, want it allowed: %t", key, a.err, allowed)
		}
	}
}

// A node that does not say how it syncs is taken for one that may forget.
func TestCheckSaysThatConfigGetIsRefused(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Persist: true, Args: []string{"--appendfsync", "always"}})
	if err := harness.Client(t, s, 1).Do(t.Context(), "acl", "setuser", "default", "-config|get").Err(); err != nil {
		t.Fatal(err)
	}
	c := open(t, s)
	got := c.Check(t.Context())
	if want := "note: node " + c.Nodes()[1].Name() + ": does not tell appendfsync (CONFIG GET refused)"; strings.Count(findings(got), want) != 1 {
		t.Errorf("Check says\n%s\nwant it to say %s", findings(got), want)
	}
}
