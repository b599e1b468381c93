package cluster

import (
	"go/doc/comment"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// The package comment quotes the rule, in the order of Rights.
func TestRights_AreQuotedInThePackageComment(t *testing.T) {
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

func TestACL_APrefixIsNoPattern(t *testing.T) {
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
	opts, err := redis.ParseURL(strings.Replace(s.URLs()[0], "//", "//redlock:x@", 1))
	if err != nil {
		t.Fatal(err)
	}
	user := redis.NewClient(opts)
	defer user.Close()
	for key, allowed := range map[string]bool{"a*b[c]:x": true, "{a*b[c]:x}:fence": true, "aab[c]:x": false, "a*bc:x": false} {
		err := user.Eval(t.Context(), "return redis.call('set', KEYS[1], 'x')", []string{key}).Err()
		if (err == nil) != allowed {
			t.Errorf("%s: %v, want it allowed: %t", key, err, allowed)
		}
	}
}

// Each right to write is one that a restart needs of the user default, where
// servers read their append-only file as this user.
func TestRights_CheckAsksForEachWriteOfTheUserDefault(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{Persist: true, Args: []string{"--user", "admin", "reset", "on", "nopass", "~*", "&*", "+@all"}})
	url := strings.Replace(s.URLs()[0], "//", "//admin:x@", 1)
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(opts)
	defer admin.Close()
	c, err := Open(t.Context(), Config{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, c)
	finds := func(rule string) bool {
		if err := admin.Do(t.Context(), "acl", "setuser", "default", "reset", "off", "~*", "&*", "+@all", rule).Err(); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(c.Check(t.Context()), func(f Finding) bool { return f.Severity == Danger && strings.Contains(f.Text, "the user default") })
	}
	if finds("+@all") || !finds("-@write") {
		t.Skip("this server keeps transactions, or has no ACL DRYRUN")
	}
	commands, err := admin.Command(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, r := range Rights("") {
		name, ok := strings.CutPrefix(r.Rule, "+")
		if name == "pexpire" {
			name = "pexpireat" // as the append-only file has it
		}
		if info := commands[name]; !ok || info == nil || !slices.Contains(info.Flags, "write") {
			continue
		}
		if asked++; !finds("-" + name) {
			t.Errorf("Check finds nothing if the user default may not run %s", name)
		}
	}
	if asked < 8 {
		t.Errorf("%d rights are writes", asked)
	}
}
