package nodeset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/venta-hq/redlock/internal/configerr"
)

// target is one node as configured: its name, and how to make the client that talks to it.
type target struct {
	name      string
	open      func(tuning) redis.UniversalClient
	isCluster bool // a Redis Cluster: several servers behind one node
	// canFailOver: a server of the node may replace another one (Sentinel,
	// Redis Cluster) that replicated to it asynchronously.
	canFailOver bool
	protocol    int // of RESP, that its connections speak; 0: it is not said on them which process they are of
}

// tuning is what this package sets on every client, whatever its URL says.
type tuning struct {
	timeout   time.Duration
	lifetime  time.Duration // of a connection
	onConnect func(context.Context, *redis.Conn) error
}

// poolSize bounds the connections beside the streams, for probes, Check and large records. The two streams use two
// connections of another pool of this size.
const poolSize = 64

// single tunes the client of one server. A retried command would find its own key and take it for another's, and
// retries with unbounded timeouts would hold a caller for minutes on a node that swallows packets.
func (t tuning) single(o *redis.Options) {
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = t.timeout, t.timeout, t.timeout, t.timeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.PipelinePoolSize = poolSize, poolSize
	o.MinIdleConns, o.MaxActiveConns = 0, 0
	o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = t.lifetime, 0
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.OnConnect = chain(o.OnConnect, t.onConnect)
	if o.Dialer == nil {
		o.Dialer = redis.NewDialer(o)
	}
	o.Dialer = quietly(o.Dialer, t.lifetime+t.timeout)
}

func (t tuning) failover(o *redis.FailoverOptions) {
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = t.timeout, t.timeout, t.timeout, t.timeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.PipelinePoolSize = poolSize, poolSize
	o.MinIdleConns, o.MaxActiveConns = 0, 0
	o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = t.lifetime, 0
	o.RouteByLatency, o.RouteRandomly, o.ReplicaOnly = false, false, false
	o.OnConnect = chain(o.OnConnect, t.onConnect)
	if o.Dialer == nil {
		o.Dialer = redis.NewDialer(&redis.Options{DialTimeout: o.DialTimeout, TLSConfig: o.TLSConfig})
	}
	o.Dialer = quietly(o.Dialer, t.lifetime+t.timeout)
}

func (t tuning) sharded(o *redis.ClusterOptions) {
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = t.timeout, t.timeout, t.timeout, t.timeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.PipelinePoolSize = poolSize, poolSize
	o.MinIdleConns, o.MaxActiveConns = 0, 0
	o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = t.lifetime, 0
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.OnConnect = chain(o.OnConnect, t.onConnect)
	if o.Dialer == nil {
		o.Dialer = redis.NewDialer(&redis.Options{DialTimeout: o.DialTimeout, TLSConfig: o.TLSConfig})
	}
	o.Dialer = quietly(o.Dialer, t.lifetime+t.timeout)
}

// chain runs the caller's own hook before ours.
func chain(theirs, ours func(context.Context, *redis.Conn) error) func(context.Context, *redis.Conn) error {
	if theirs == nil {
		return ours
	}
	return func(ctx context.Context, cn *redis.Conn) error {
		if err := theirs(ctx, cn); err != nil {
			return err
		}
		return ours(ctx, cn)
	}
}

// targets reads the nodes out of cfg, in a stable order, and reports every one that cannot be used.
func (cfg Config) targets() ([]target, error) {
	var all []target
	var errs []error
	for i, raw := range cfg.URLs {
		t, err := parseURL(raw)
		if err != nil {
			errs = append(errs, configerr.Field(fmt.Sprintf("Config.URLs[%d]", i), "%v", err))
			continue
		}
		all = append(all, t)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Clients)) {
		t, err := copyClient(name, cfg.Clients[name])
		if err != nil {
			errs = append(errs, configerr.Field(fmt.Sprintf("Config.Clients[%q]", name), "%v", err))
			continue
		}
		all = append(all, t)
	}
	seen := map[string]bool{}
	for _, t := range all {
		if seen[t.name] {
			errs = append(errs, configerr.Field("Config.URLs", "node %s is listed twice; each must be an independent server", t.name))
		}
		seen[t.name] = true
	}
	return all, errors.Join(errs...)
}

const urlForms = "use redis://[user:password@]host:port[/db], rediss://… or unix:///path; " +
	"percent-encode what is special in a password"

// parseURL reads one URL. Its errors never quote the URL, which may hold a password.
func parseURL(raw string) (target, error) {
	if secondURL.MatchString(raw) {
		return target{}, errors.New("is several URLs in one string; pass each separately")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, errors.New("not a URL; " + urlForms)
	}
	if err := misread(raw, u); err != nil {
		return target{}, err
	}
	q := u.Query()
	var t target
	switch {
	case q.Has("master_name"):
		var o *redis.FailoverOptions
		if o, err = redis.ParseFailoverURL(raw); err == nil {
			t.name, t.canFailOver = o.MasterName+"@"+strings.Join(o.SentinelAddrs, ","), true
			t.open = func(tune tuning) redis.UniversalClient { tune.failover(o); return redis.NewFailoverClient(o) }
		}
	case q.Has("addr"):
		var o *redis.ClusterOptions
		if o, err = redis.ParseClusterURL(raw); err == nil {
			t.name, t.isCluster, t.canFailOver = strings.Join(o.Addrs, ","), true, true
			t.open = func(tune tuning) redis.UniversalClient { tune.sharded(o); return redis.NewClusterClient(o) }
		}
	default:
		var o *redis.Options
		if o, err = redis.ParseURL(raw); err == nil {
			t.name, t.protocol = nodeName(o), protocolOf(o)
			t.open = func(tune tuning) redis.UniversalClient { tune.single(o); return redis.NewClient(o) }
		}
	}
	if err != nil {
		return target{}, errors.New(redact(err.Error(), u) + "; " + urlForms)
	}
	return t, nil
}

var secondURL = regexp.MustCompile(`,\s*(redis|rediss|unix)://`)

// misread refuses a URL if part of its credentials was parsed as something
// else, because a character in them was not percent-encoded: that part would
// appear in errors, and in the name of the node.
func misread(raw string, u *url.URL) error {
	if _, err := url.ParseQuery(u.RawQuery); err != nil { // what cannot be read would be left out
		return errors.New("has options that cannot be read; " + urlForms)
	}
	ats := 0
	if u.User != nil {
		ats = 1
	}
	switch {
	case strings.Count(raw, "@") > ats || strings.Contains(raw, "#"):
		return errors.New("has an @ or # where none belongs; " + urlForms)
	case strings.Contains(strings.ToLower(u.Host+u.Path+u.Opaque), "password="):
		return errors.New("has an option before the ?, which begins the options; " + urlForms)
	case u.Scheme == "unix" && u.Host != "":
		return errors.New("names a host before the path of a socket; " + urlForms)
	}
	return nil
}

// redact drops an error text that may repeat credentials: go-redis quotes what it cannot use of path and query.
func redact(text string, u *url.URL) string {
	for name := range u.Query() {
		if strings.Contains(name, "pass") {
			return "an option in its query cannot be used"
		}
	}
	if password, set := u.User.Password(); set {
		for _, secret := range []string{password, url.QueryEscape(password), url.PathEscape(password)} {
			if secret != "" && strings.Contains(text, secret) {
				return "not usable"
			}
		}
	}
	return text
}

// nodeName is the address, and the database where it is not the first.
func nodeName(o *redis.Options) string {
	if o.DB != 0 {
		return fmt.Sprintf("%s/%d", o.Addr, o.DB)
	}
	return o.Addr
}

// protocolOf is the version of RESP that go-redis asks for.
func protocolOf(o *redis.Options) int {
	if o.Protocol == 2 {
		return 2
	}
	return 3
}

// defaultDialer is the code of the dialer that go-redis gives to a client that has none.
var defaultDialer = sync.OnceValue(func() uintptr {
	c := redis.NewClient(&redis.Options{})
	defer c.Close()
	return reflect.ValueOf(c.Options().Dialer).Pointer()
})

// failoverAddr stands for an address in the options of a client that go-redis backs by Sentinel.
const failoverAddr = "FailoverClient"

// explain adds to an error of a node that was never met what it may mean, if
// the error does not say so itself.
func (n *Node) explain(err error) error {
	secure := false
	switch c := n.client.(type) {
	case *redis.Client:
		secure = c.Options().TLSConfig != nil
	case *redis.ClusterClient:
		secure = c.Options().TLSConfig != nil
	}
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case !secure && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("closed the connection unasked (%w); if it expects TLS, use rediss://", err)
	case secure && silent:
		return fmt.Errorf("no TLS handshake in time (%w); if it does not speak TLS, use redis://", err)
	}
	return err
}

// credentials explains the answer of a server that refuses the connection, and
// says what to do.
func credentials(err error) error {
	var advised *advice
	switch {
	case errors.As(err, &advised):
	case saidBy(err, "NOAUTH"):
		return advise("requires a password, but none is given (%w); add one: redis://user:password@host:port", err)
	case saidBy(err, "WRONGPASS"), saidBy(err, "ERR invalid password"):
		return advise("refuses the user or the password (%w); check both", err)
	case saidBy(err, "ERR AUTH"):
		return advise("has no password, but one is given (%w); leave it out, or set requirepass there", err)
	}
	return err
}

// advice is an error that says what to do about it.
type advice struct{ error }

func advise(format string, err error) error { return &advice{fmt.Errorf(format, err)} }

func (a *advice) Unwrap() error { return errors.Unwrap(a.error) }

// copyClient takes the options of a ready client.
func copyClient(name string, client redis.UniversalClient) (target, error) {
	t := target{name: name}
	switch c := client.(type) {
	case *redis.Client:
		if c == nil {
			return t, errors.New("nil client")
		}
		o := *c.Options()
		if reflect.ValueOf(o.Dialer).Pointer() == defaultDialer() {
			o.Dialer = nil // it is bound to the time-outs of the given client
		}
		t.canFailOver, t.protocol = o.Addr == failoverAddr, protocolOf(&o)
		t.open = func(tune tuning) redis.UniversalClient { tune.single(&o); return redis.NewClient(&o) }
	case *redis.ClusterClient:
		if c == nil {
			return t, errors.New("nil client")
		}
		o := *c.Options()
		t.isCluster, t.canFailOver = true, true
		t.open = func(tune tuning) redis.UniversalClient { tune.sharded(&o); return redis.NewClusterClient(&o) }
	case nil:
		return t, errors.New("nil client")
	default:
		return t, fmt.Errorf("%T cannot be used; give a *redis.Client or a *redis.ClusterClient", client)
	}
	if name == "" {
		return t, errors.New("empty node name")
	}
	return t, nil
}
