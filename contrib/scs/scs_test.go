package scs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/cluster"
	redlock "github.com/venta-hq/redlock/contrib/scs"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/session"
)

// scs.New starts the cleanup of a store in memory, and nothing ends it.
func TestMain(m *testing.M) {
	harness.Main(m, goleak.IgnoreTopFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
}

func open(t testing.TB, urls []string, cfg session.Config) *redlock.Store {
	t.Helper()
	c, err := cluster.Open(context.Background(), cluster.Config{URLs: urls, NodeTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	s, err := session.New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return redlock.New(s)
}

func start(t testing.TB) *embedded.Nodes {
	t.Helper()
	nodes, err := embedded.Start(3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nodes.Close)
	return nodes
}

// token is made as scs makes one.
func token() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func finds(t *testing.T, s scs.Store, token, want string) {
	t.Helper()
	b, found, err := s.Find(token)
	if err != nil || found != (want != "") || !bytes.Equal(b, []byte(want)) {
		t.Errorf("found %q, %v, %v; want %q", b, found, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What the tests of scs's own stores ask of them.
func TestStore_BehavesAsThoseOfSCS(t *testing.T) {
	s := open(t, start(t).URLs(), session.Config{})
	in := time.Now().Add(time.Minute)
	a, b := token(), token()
	finds(t, s, a, "") // find what is missing
	must(t, s.Commit(a, []byte("one"), in))
	finds(t, s, a, "one") // save new, find
	must(t, s.Commit(a, []byte("two"), in))
	finds(t, s, a, "two") // save updated
	must(t, s.Commit(a, []byte{}, in))
	if v, found, err := s.Find(a); len(v) != 0 || !found || err != nil {
		t.Errorf("an empty value: %q, %v, %v", v, found, err)
	}
	must(t, s.Commit(b, []byte("short"), time.Now().Add(-time.Second)))
	finds(t, s, b, "") // expiry
	all, err := s.All()
	if err != nil || len(all) != 1 {
		t.Errorf("all: %v, %v", all, err) // without the one that is over
	}
	must(t, s.Commit(a, []byte("three"), time.Now().Add(-time.Second)))
	finds(t, s, a, "") // an earlier expiry counts too
	must(t, s.Delete(a))
	finds(t, s, a, "") // delete
	must(t, s.Delete(a))
	must(t, s.Delete(token())) // what is not there
	must(t, s.Delete(""))
	must(t, s.Delete("no token"))
	finds(t, s, "no token", "")
	if all, err := s.All(); err != nil || all == nil || len(all) != 0 {
		t.Errorf("all of nothing: %v, %v", all, err)
	}
}

func TestStore_DoesNotCommitADeletedSession(t *testing.T) {
	s := open(t, start(t).URLs(), session.Config{})
	in, a := time.Now().Add(time.Minute), token()
	must(t, s.Commit(a, []byte("one"), in))
	must(t, s.Delete(a))
	if err := s.Commit(a, []byte("two"), in); !errors.Is(err, session.ErrSessionGone) {
		t.Errorf("it was: %v", err)
	}
	finds(t, s, a, "")
	for _, token := range []string{"", "no token", token() + "="} {
		if err := s.Commit(token, nil, in); !errors.Is(err, cluster.ErrConfig) || errors.Is(err, session.ErrSessionGone) {
			t.Errorf("%q, which is no token: %v", token, err)
		}
		finds(t, s, token, "")
	}
	late := token()
	must(t, s.Commit(late, nil, in))
	if err := s.Commit(late, nil, time.Now().Add(14*24*time.Hour+30*time.Second)); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("an expiry after the session's end: %v", err)
	}
	if err := s.Commit(token(), nil, time.Now().Add(1000*time.Hour)); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("an expiry after the store's lifetime: %v", err)
	}
}

// The keys of All can be committed and deleted, and are no tokens.
func TestStore_IterateChangesAndDestroysSessions(t *testing.T) {
	s := open(t, start(t).URLs(), session.Config{})
	m := scs.New()
	m.Store = s
	var tokens []string
	for i := range 3 {
		ctx, err := m.Load(t.Context(), "")
		must(t, err)
		m.Put(ctx, "n", i)
		token, _, err := m.Commit(ctx)
		must(t, err)
		tokens = append(tokens, token)
	}
	must(t, m.Iterate(t.Context(), func(ctx context.Context) error {
		finds(t, s, m.Token(ctx), "")
		if m.GetInt(ctx, "n") == 1 {
			return m.Destroy(ctx)
		}
		m.Put(ctx, "n", m.GetInt(ctx, "n")+10)
		_, _, err := m.Commit(ctx)
		return err
	}))
	var got []int
	for _, token := range tokens {
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		got = append(got, m.GetInt(ctx, "n"))
	}
	if fmt.Sprint(got) != "[10 0 12]" {
		t.Errorf("the sessions have %v", got)
	}
}

func Example() {
	ctx := context.Background()
	nodes, _ := embedded.Start(5)
	defer nodes.Close()
	c, _ := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs()})
	defer c.Close(ctx)
	store, _ := session.New(c, session.Config{})
	manager := scs.New()
	manager.Store = redlock.New(store)

	ctx, _ = manager.Load(ctx, "")
	manager.Put(ctx, "user", "ann")
	token, _, err := manager.Commit(ctx)
	fmt.Println("committed:", err)
	nodes.Stop(0) // two of five may be missing
	nodes.Stop(1)
	ctx, _ = manager.Load(context.Background(), token)
	fmt.Println("user:", manager.GetString(ctx, "user"))
	// Output:
	// committed: <nil>
	// user: ann
}
