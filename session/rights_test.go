package session

import (
	"context"
	"errors"
	"fmt"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// rules returns the rights in the package comment.
func rules(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range new(comment.Parser).Parse(file.Doc.Text()).Content {
		if code, ok := block.(*comment.Code); ok {
			if _, rest, ok := strings.Cut(code.Text, "on >password"); ok {
				return strings.Fields(rest)
			}
		}
	}
	t.Fatal("the package comment names no rights")
	return nil
}

// The rights in the package comment are sufficient, and each is necessary. The
// optional rights of package cluster are left to its tests.
func TestRights_EachIsNeededAndTheyAreEnough(t *testing.T) {
	t.Parallel()
	all := strings.Fields(ACL("", false))
	if text := rules(t); !slices.Equal(slices.Sorted(slices.Values(text)), slices.Sorted(slices.Values(all))) {
		t.Errorf("the package comment names %q,\nRights %q", text, all)
	}
	s := harness.Real(t, 1, redisserver.Options{})
	if err := workout(t, s, all, ""); err != nil {
		t.Errorf("with all of them: %v", err)
	}
	if err := workout(t, s, strings.Fields(ACL("", true)), ""); err != nil {
		t.Errorf("without the optional ones: %v", err)
	}
	if err := workout(t, s, strings.Fields(ACL("a*[b]?:", false)), "a*[b]?:"); err != nil {
		t.Errorf("with another prefix: %v", err)
	}
	if err := workout(t, s, strings.Fields(ACL("a*[b]?:", false)), "axb?:"); err == nil {
		t.Error("the rights cover more than the prefix")
	}
	for i, rule := range all {
		switch rule {
		case "+info", "+config|get", "+acl|dryrun", "+script|exists", "+script|load":
			continue
		case "+time", "+ping": // needed by package cluster, to detect restarts and recovered nodes
			continue
		}
		var others []string
		others = append(append(others, all[:i]...), all[i+1:]...)
		if err := workout(t, s, others, ""); err == nil {
			t.Errorf("%s is not needed", rule)
		}
	}
}

// workout calls everything that needs a right, as a user with these rights.
func workout(t *testing.T, s harness.Set, rules []string, prefix string) error {
	t.Helper()
	ctx := t.Context()
	admin := harness.Client(t, s, 0)
	args := []any{"acl", "setuser", "redlock", "reset", "on", "nopass"}
	for _, r := range rules {
		args = append(args, r)
	}
	must(t, harness.Flush(admin))
	must(t, admin.ScriptFlush(ctx).Err())
	must(t, admin.Do(ctx, args...).Err())
	c, err := cluster.Open(ctx, cluster.Config{
		URLs:   []string{strings.Replace(s.URLs()[0], "//", "//redlock:x@", 1)},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	must(t, admin.ScriptFlush(ctx).Err())
	store, err := New(c, Config{Prefix: prefix})
	if err != nil {
		return err
	}
	ss, err := store.Create(ctx, "ann", data{"a": 1})
	if err != nil {
		return err
	}
	other, err := store.Create(ctx, "ann", nil)
	if err != nil {
		return err
	}
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	_, err = store.Load(ctx, ss.ID())
	try(err)
	try(ss.Set("a", 2))
	try(ss.Commit(ctx))
	for i := range manyTombstones {
		ss.Delete(fmt.Sprint("once", i))
	}
	try(ss.Commit(ctx))
	read, err := store.Load(ctx, ss.ID())
	try(err)
	key := store.cfg.Prefix + ss.hash
	for range 100 { // the drop is in flight, unless it is not allowed
		if read == nil || err != nil || read.rec.dropped.Load() == nil || admin.HLen(ctx, key).Val() <= manyTombstones {
			break
		}
		_, err = store.Load(ctx, ss.ID())
	}
	try(err)
	try(ss.Renew(ctx, Grace(time.Second)))
	_, err = store.List(ctx, "ann")
	try(err)
	try(other.Destroy(ctx))
	try(store.LogoutAll(ctx, "ann", ss))
	try(store.LogoutAll(ctx, "ann", nil))
	return errors.Join(errs...)
}
