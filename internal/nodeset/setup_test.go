package nodeset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// as returns the address of a node with credentials.
func as(url, user, password string) string {
	return strings.Replace(url, "redis://", "redis://"+user+":"+password+"@", 1)
}

// setACL changes a user of a node, and ends the connections of that user.
func setACL(t testing.TB, admin *redis.Client, user string, rules ...any) {
	t.Helper()
	for _, words := range [][]any{append([]any{"acl", "setuser", user}, rules...), {"client", "kill", "user", user}} {
		if err := admin.Do(t.Context(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A node that lets no new connection in has been sent nothing: commands say so,
// and why; what is pending is kept until the node can be reached again.
func TestNode_ConnectionSetUp_RefusalReachesEveryCommandAsUnsent(t *testing.T) {
	t.Parallel()
	app := func(rules ...any) func(testing.TB, *redis.Client) {
		return func(t testing.TB, admin *redis.Client) { setACL(t, admin, "app", rules...) }
	}
	anybody := func(rules ...any) func(testing.TB, *redis.Client) {
		return func(t testing.TB, admin *redis.Client) { setACL(t, admin, "default", rules...) }
	}
	replicas := func(least string) func(testing.TB, *redis.Client) {
		return func(t testing.TB, admin *redis.Client) {
			_, err := admin.TxPipelined(t.Context(), func(p redis.Pipeliner) error { // else it may be marked again in between
				p.Del(t.Context(), marks.Key)
				p.ConfigSet(t.Context(), "min-replicas-to-write", least)
				p.Do(t.Context(), "client", "kill", "user", "app")
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name          string
		user          string // "": none is given
		refuse, admit func(testing.TB, *redis.Client)
		says          string
	}{
		{"the password is another", "app", app("resetpass", ">two"), app(">one"), "WRONGPASS"},
		{"the mark cannot be read", "app", app("resetkeys", "~list"), app("~*"), "NOPERM"},
		{"the mark cannot be written", "app", replicas("1"), func(t testing.TB, admin *redis.Client) {
			if err := admin.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err(); err != nil {
				t.Fatal(err)
			}
		}, "NOREPLICAS"},
		{"the user is off", "app", app("off"), app("on"), "WRONGPASS"},
		{"a password is wanted", "", anybody("resetpass", ">two"), anybody("nopass"), "NOAUTH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := harness.Real(t, 1, redisserver.Options{Persist: true})
			setACL(t, harness.Client(t, s, 0), "admin", "on", ">one", "~*", "&*", "+@all")
			admin := redis.NewClient(&redis.Options{Addr: hostOf(t, s.URLs()[0]), Username: "admin", Password: "one"})
			defer admin.Close()
			setACL(t, admin, "app", "on", ">one", "~*", "&*", "+@all")
			url := s.URLs()[0]
			if tt.user != "" {
				url = as(url, tt.user, "one")
			}
			c, err := tryOpen(t, Config{URLs: []string{url}, NodeTimeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			n := c.Nodes()[0]
			tt.refuse(t, admin)

			if a := run(t, n, pushScript, []string{"list"}, "first"); a.err == nil || Unsent(a.err) {
				// It may have been written to a connection that was closed meanwhile.
				if !errors.Is(a.err, ErrNodeDown) || !strings.Contains(a.err.Error(), tt.says) {
					t.Errorf("the first command got %v", a)
				}
			}
			n.SendLater(pushScript.Command([]string{"list"}, "pending"), time.Time{})
			harness.Eventually(t, "the node is down, and says why", func() bool {
				status := c.Status()[0]
				return !status.Up && status.Err != nil && strings.Contains(status.Err.Error(), tt.says)
			})
			if a := run(t, n, pushScript, []string{"list"}, "second"); !Unsent(a.err) || !strings.Contains(a.err.Error(), tt.says) {
				t.Errorf("the second command got %v", a)
			}
			tt.admit(t, admin)
			harness.Eventually(t, "what is pending is sent", func() bool {
				all, err := admin.LRange(t.Context(), "list", 0, -1).Result()
				if err != nil {
					t.Fatal(err)
				}
				return len(all) == 1 && all[0] == "pending"
			})
		})
	}
}

func TestNode_ConnectionSetUp_TheLineOfARefusedPasswordSaysWhatToDo(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	c := open(t, harness.Embedded(t, 1), func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	n := c.Nodes()[0]
	n.trip(&setupError{reply("WRONGPASS invalid")})
	harness.Eventually(t, "the line", func() bool { return strings.Contains(out.String(), "node cannot be used until") })
	if said := out.String(); strings.Count(said, "check both") != 1 {
		t.Errorf("it logs %s", said)
	}
	once := credentials(reply("NOAUTH needed"))
	if twice := credentials(fmt.Errorf("node a: %w", once)); strings.Count(twice.Error(), "requires a password") != 1 || !saidBy(twice, "NOAUTH") {
		t.Errorf("it is explained as %v", twice)
	}
}

// The same with a hook of the caller's that fails with an answer of the server.
func TestNode_ConnectionSetUp_RefusalIsNoAnswer(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		o, err := redis.ParseURL(s.URLs()[0])
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var conns []net.Conn
		refused := false
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			return conn, err
		}
		o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
			mu.Lock()
			defer mu.Unlock()
			if refused {
				return cn.Do(ctx, "get").Err()
			}
			return nil
		}
		client := redis.NewClient(o)
		defer client.Close()
		c, err := tryOpen(t, Config{Clients: map[string]redis.UniversalClient{"node": client}, NodeTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		n := c.Nodes()[0]
		mu.Lock()
		refused = true
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		n.SendLater(pushScript.Command([]string{"list"}, "pending"), time.Time{})
		harness.Eventually(t, "the node is down, and says why", func() bool {
			if a := run(t, n, pushScript, []string{"list"}, "lost"); a.err == nil {
				t.Fatalf("a command that was never sent got %v", a)
			}
			status := c.Status()[0]
			return !status.Up && strings.Contains(status.Err.Error(), "wrong number of arguments")
		})
		mu.Lock()
		refused = false
		mu.Unlock()
		harness.Eventually(t, "what is pending is sent", func() bool {
			a := run(t, n, lengthScript, []string{"list"})
			return a.err == nil && a.reply == int64(1)
		})
	})
}

var lengthScript = NewScript("length", `return redis.call('LLEN', KEYS[1])`)
