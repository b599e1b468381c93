package nodeset

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const oneURL = "redis://127.0.0.1:1"

func TestConfig_EveryBadFieldIsNamedInOneError(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"no nodes", Config{}, []string{"Config.URLs", "no nodes"}},
		{"URLs and Clients", Config{URLs: []string{oneURL}, Clients: map[string]redis.UniversalClient{"a": nil}},
			[]string{"Config.URLs", "together with Config.Clients", `Config.Clients["a"]`, "nil client"}},
		{"short MaxTTL", Config{URLs: []string{oneURL}, MaxTTL: 999 * time.Millisecond, NodeTimeout: time.Millisecond},
			[]string{"Config.MaxTTL: 999ms", "at least 1s"}},
		{"negative MaxTTL", Config{URLs: []string{oneURL}, MaxTTL: -time.Second}, []string{"Config.MaxTTL: -1s"}},
		{"short NodeTimeout", Config{URLs: []string{oneURL}, NodeTimeout: time.Microsecond}, []string{"Config.NodeTimeout: 1µs"}},
		{"NodeTimeout above a third", Config{URLs: []string{oneURL}, MaxTTL: 3 * time.Second, NodeTimeout: 1001 * time.Millisecond},
			[]string{"Config.NodeTimeout: 1.001s", "a third of MaxTTL"}},
		{"MaxQueued", Config{URLs: []string{oneURL}, MaxQueued: 63}, []string{"Config.MaxQueued: 63"}},
		{"negative MaxQueued", Config{URLs: []string{oneURL}, MaxQueued: -1}, []string{"Config.MaxQueued: -1"}},
		{"a quorum below the majority", Config{URLs: []string{oneURL, "redis://h", "redis://i", "redis://j"}, Quorum: 2},
			[]string{"Config.Quorum: 2", "of 4 nodes from a majority, 3, to all, 4"}},
		{"a quorum above all", Config{URLs: []string{oneURL}, Quorum: 2}, []string{"Config.Quorum: 2", "to all, 1"}},
		{"a negative quorum", Config{URLs: []string{oneURL}, Quorum: -1}, []string{"Config.Quorum: -1"}},
		{"the same URL twice", Config{URLs: []string{oneURL, "redis://user:x@127.0.0.1:1/0"}}, []string{"node 127.0.0.1:1 is listed twice"}},
		{"everything", Config{URLs: []string{"redis://h", "nonsense", "ftp://x"}, MaxTTL: 1, NodeTimeout: 1, MaxQueued: 1},
			[]string{"Config.URLs[1]", "Config.URLs[2]", "Config.MaxTTL", "Config.NodeTimeout", "Config.MaxQueued"}},
		{"a list in one text", Config{URLs: []string{"redis://a:1, redis://b:1"}}, []string{"Config.URLs[0]", "pass each separately"}},
		{"a host before the path of a socket", Config{URLs: []string{"unix://run/redis.sock"}}, []string{"Config.URLs[0]", "names a host"}},
		{"no name for a client", Config{Clients: map[string]redis.UniversalClient{"": fakeClient(t)}}, []string{`Config.Clients[""]`, "empty node name"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tryOpen(t, tt.cfg)
			if c != nil || !errors.Is(err, ErrConfig) {
				t.Fatalf("Open = %v, %v; want ErrConfig", c, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func fakeClient(t *testing.T) redis.UniversalClient {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConfig_DefaultsAreFilledInOnACopy(t *testing.T) {
	cfg := Config{URLs: []string{oneURL}}
	full := cfg.withDefaults()
	if full.Quorum != 1 || full.MaxTTL != time.Minute || full.NodeTimeout != 250*time.Millisecond || full.MaxQueued != 65536 || full.Logger == nil {
		t.Errorf("defaults are %+v", full)
	}
	if cfg.MaxTTL != 0 || cfg.Logger != nil {
		t.Errorf("the given Config was changed: %+v", cfg)
	}
	if err := full.validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestURL_NamesTheNodeWithoutCredentials(t *testing.T) {
	for raw, want := range map[string]string{
		"redis://10.0.0.1:6379":                          "10.0.0.1:6379",
		"redis://10.0.0.1":                               "10.0.0.1:6379",
		"redis://":                                       "localhost:6379",
		"redis://user:s3cret@h:7000/3":                   "h:7000/3",
		"redis://:s3cret@h:7000?db=4":                    "h:7000/4",
		"rediss://user:s3cret@h:7000/":                   "h:7000",
		"redis://[::1]:7000":                             "[::1]:7000",
		"redis://user:s%2F3%40cret@h:7000":               "h:7000",
		"unix:///run/redis.sock":                         "/run/redis.sock",
		"unix://user:s3cret@/run/redis.sock?db=1":        "/run/redis.sock/1",
		"redis://user:s3cret@h:1?master_name=m&addr=i:2": "m@h:1,i:2",
		"rediss://h:1?master_name=m&db=2":                "m@h:1",
		"redis://user:s3cret@h:1?addr=i:2&addr=j:3":      "h:1,i:2,j:3",
	} {
		got, err := parseURL(raw)
		if err != nil || got.name != want {
			t.Errorf("parseURL(%s) is named %q, %v; want %q", raw, got.name, err, want)
		}
		if got.isCluster != strings.Contains(raw, "addr=") && !strings.Contains(raw, "master_name") {
			t.Errorf("parseURL(%s): sharded is %t", raw, got.isCluster)
		}
	}
}

func TestURL_TimeoutsAndRetriesAreOverruled(t *testing.T) {
	got, err := parseURL("redis://h:1?max_retries=5&read_timeout=1h&dial_timeout=1h&write_timeout=1h&pool_size=1&min_idle_conns=3")
	if err != nil {
		t.Fatal(err)
	}
	client := got.open(tuning{timeout: time.Second, onConnect: func(context.Context, *redis.Conn) error { return nil }})
	defer client.Close()
	o := client.(*redis.Client).Options()
	if o.MaxRetries > 0 || o.DialerRetries != 1 || o.ReadTimeout != time.Second || o.DialTimeout != time.Second ||
		o.WriteTimeout != time.Second || o.MinIdleConns != 0 || !o.ContextTimeoutEnabled {
		t.Errorf("options are %+v", o)
	}
}

// A password with characters that are special in a URL is easily written without encoding them. Whatever is then taken
// for something else must not be repeated.
func TestURL_ErrorsShowNoPieceOfAPassword(t *testing.T) {
	const head, tail = "hunter", "sesame"
	var urls []string
	for _, special := range []string{"/", "?", "#", "@", "%", "%zz", ":", "&", "=", " ", "[", "]", "\\", "?db=", "/1/", "?x=y&", "\x7f", "%2F", "%40"} {
		password := head + special + tail
		for _, user := range []string{"", "me"} {
			for _, scheme := range []string{"redis", "rediss", "unix", "http", ""} {
				urls = append(urls,
					fmt.Sprintf("%s://%s:%s@host:6379/x", scheme, user, password),
					fmt.Sprintf("%s://%s:%s@host:6379?nonsense=1", scheme, user, password),
					fmt.Sprintf("%s://%s:1%s@host:6379/", scheme, user, special+tail), // begins as a port may
					fmt.Sprintf("%s://%s:%s@host:port/", scheme, user, password),
					fmt.Sprintf("%s://%s:%s@h:1?master_name=m&nonsense=1", scheme, user, password),
					fmt.Sprintf("%s://%s:%s@h:1?addr=i:2&nonsense=1", scheme, user, password),
					fmt.Sprintf("%s:%s@host:6379", user, password),
					fmt.Sprintf("redis://%s?master_name=m&sentinel_password=%s&x=1", user, password),
					fmt.Sprintf("redis://%s?password=%s", user, password),
					fmt.Sprintf("redis://%s?master_name=m&password=%s", user, url.QueryEscape(password)))
			}
		}
	}
	refused := 0
	for _, raw := range urls {
		cfg := Config{URLs: []string{raw}}
		targets, err := cfg.targets()
		if err != nil {
			refused++
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "Config.URLs[0]") {
				t.Errorf("%s: %v", raw, err)
			}
			for _, piece := range []string{head, tail} {
				if strings.Contains(err.Error(), piece) {
					t.Errorf("%q is repeated by %q", raw, err)
				}
			}
		}
		for _, t2 := range targets {
			if strings.Contains(t2.name, head) || strings.Contains(t2.name, tail) {
				t.Errorf("%q names a node %q", raw, t2.name)
			}
		}
	}
	if refused < len(urls)/2 {
		t.Errorf("only %d of %d were refused", refused, len(urls))
	}
}

func TestURL_AnUnknownOptionIsNamed(t *testing.T) {
	for _, raw := range []string{"redis://h?tries=3", "redis://user:pw@h?tries=3", "redis://h?addr=i:1&tries=3", "redis://h?master_name=m&tries=3"} {
		if _, err := parseURL(raw); err == nil || !strings.Contains(err.Error(), "tries") {
			t.Errorf("parseURL(%s) = %v, want an error that names the option", raw, err)
		}
	}
}
