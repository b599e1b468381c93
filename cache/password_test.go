package cache_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// A node whose password was changed accepts no new connection. A command sent
// to it has no effect, and an empty answer must not count as a confirmation.
func TestCache_ChangedPasswordConfirmsNothing(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{Persist: true})
	admin := harness.Client(t, s, 0)
	user := func(rules ...any) {
		t.Helper()
		for _, words := range [][]any{append([]any{"acl", "setuser", "app"}, rules...), {"client", "kill", "user", "app"}} {
			must(t, admin.Do(t.Context(), words...).Err())
		}
	}
	user("on", ">one", "~*", "&*", "+@all")
	url := strings.Replace(s.URLs()[0], "redis://", "redis://app:one@", 1)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: []string{url}, NodeTimeout: 5 * time.Second, Logger: quiet})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	users := newOn(t, c, cache.Config[string]{TTL: time.Hour})
	large := strings.Repeat("x", 32<<10) // is sent outside the stream
	must(t, errors.Join(users.Set(t.Context(), "k", "old"), users.Set(t.Context(), "large", large)))

	user("resetpass", ">two")
	for name, change := range map[string]func() error{
		"Delete":      func() error { return users.Delete(t.Context(), "k") },
		"DeleteMany":  func() error { return users.DeleteMany(t.Context(), "k", "large") },
		"MarkStale":   func() error { return users.MarkStale(t.Context(), "k") },
		"Set":         func() error { return users.Set(t.Context(), "k", "new") },
		"a large Set": func() error { return users.Set(t.Context(), "large", large) },
	} {
		if err := change(); !errors.Is(err, cache.ErrUnreached) {
			t.Errorf("%s on a node that accepts no connection: %v", name, err)
		}
		if v, found, err := users.Get(t.Context(), "k"); err == nil {
			t.Errorf("after %s, Get is %q, %t", name, v, found)
		}
	}
	if err := users.Delete(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("the error of Delete does not say why: %v", err)
	}
	user("resetpass", ">one")
	harness.Eventually(t, "what was to be deleted is, and is never served", func() bool {
		if v, found, err := users.Get(t.Context(), "k"); err == nil && found {
			t.Fatalf("%q is served after it was deleted", v)
		}
		return admin.Exists(t.Context(), "cache:v:{k}", "cache:v:{large}").Val() == 0
	})
}
