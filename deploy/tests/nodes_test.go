package tests

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/ports"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

// commands are the command lines with which each way of deployment starts a
// node.
func commands(t *testing.T) map[string][]string {
	t.Helper()
	p, _ := composed(t)
	all := map[string][]string{"kubernetes": built(t).nodes.Spec.Template.Spec.Containers[0].Args}
	for i := 1; i <= 5; i++ {
		s, err := p.GetService(fmt.Sprintf("node%d", i))
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("compose, node%d", i)] = s.Command
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/(.*)$`).FindStringSubmatch(read(t, "systemd", "redlock-node.service"))
	if start == nil {
		t.Fatal("the unit starts nothing")
	}
	all["systemd"] = strings.Fields(start[1])
	return all
}

// node is one server, as a deployment starts it.
type node struct {
	t       *testing.T
	command []string // of the deployment
	dir     string
	deploy  string // whose valkey.conf and users.acl it reads
	port    int

	server *exec.Cmd // nil while it is stopped
	log    bytes.Buffer
	ended  chan struct{}
}

// newNode starts a node with a command line of a deployment.
func newNode(t *testing.T, deploy string, command []string) *node {
	t.Helper()
	n := &node{t: t, command: command, dir: t.TempDir(), deploy: deploy}
	l, port, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	n.port = port
	t.Cleanup(func() {
		n.stop()
		ports.Give(port)
	})
	n.start()
	return n
}

// five starts the nodes of compose.yaml.
func five(t *testing.T, deploy string) (nodes []*node) {
	t.Helper()
	all := commands(t)
	for i := 1; i <= 5; i++ {
		nodes = append(nodes, newNode(t, deploy, all[fmt.Sprintf("compose, node%d", i)]))
	}
	return nodes
}

// args are the deployment's, with the paths, the port and the address that a
// test can have.
func (n *node) args() []string {
	conf := filepath.Join(n.deploy, "node", "valkey.conf")
	args := slices.Clone(n.command[1:])
	for i, arg := range args {
		switch {
		case arg == confPath:
			args[i] = conf
		case i > 0 && args[i-1] == "--dir":
			args[i] = n.dir
		}
	}
	return append(args, "--port", strconv.Itoa(n.port), "--bind", "127.0.0.1",
		"--aclfile", filepath.Join(n.deploy, "secrets", "users.acl"))
}

// start starts the server, and returns once its health check passes.
func (n *node) start() {
	n.t.Helper()
	path, err := redisserver.Available()
	if err != nil {
		n.t.Skip(err)
	}
	n.log.Reset()
	cmd := exec.Command(path, n.args()...)
	cmd.Stdout, cmd.Stderr = &n.log, &n.log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	n.server, n.ended = cmd, ended
	health := n.client("health", "none")
	defer health.Close()
	harness.Eventually(n.t, "a node to answer its health check", func() bool {
		select {
		case <-ended:
			n.t.Fatalf("the server ended: %v\n%s", n.command, n.log.String())
		default:
		}
		return health.Ping(n.t.Context()).Err() == nil
	})
}

// stop ends the server as all three deployments do, and waits for its end.
func (n *node) stop() {
	if n.server == nil {
		return
	}
	_ = n.server.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(harness.Patience):
		_ = n.server.Process.Kill()
		<-n.ended
		n.t.Errorf("a node did not stop within %v of SIGTERM", harness.Patience)
	}
	n.server = nil
}

// lose removes what a stopped node has kept.
func (n *node) lose() {
	n.t.Helper()
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// client is a connection that is made anew for each command.
func (n *node) client(user, password string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: n.addr(), Username: user, Password: password, PoolSize: 1, MaxRetries: -1})
}

// config is how a program opens the nodes.
func config(nodes []*node, user, password string, maxTTL time.Duration) cluster.Config {
	// The nodes sync each write: a disk that stands still, as beside a database's
	// tests, stops all of them, and is no outage where locks last long enough.
	timeout := max(nodeTimeout, maxTTL/5)
	cfg := cluster.Config{MaxTTL: maxTTL, NodeTimeout: timeout, Logger: slog.New(slog.DiscardHandler)}
	for _, n := range nodes {
		cfg.URLs = append(cfg.URLs, fmt.Sprintf("redis://%s:%s@%s", user, password, n.addr()))
	}
	return cfg
}

// opened is a process that uses the nodes as user redlock.
func opened(t *testing.T, nodes []*node, password string, maxTTL time.Duration) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), config(nodes, "redlock", password, maxTTL))
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	return c
}

// A real server takes the configuration, the users, and every command line, and
// then is what the library asks for.
func TestNodes_EveryDeploymentStartsThem(t *testing.T) {
	deploy := withSecrets(t)
	all := commands(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, deploy, all[name])
			password := environment(t, deploy)
			operator := n.client("operator", password["OPERATOR_PASSWORD"])
			defer operator.Close()
			for setting, want := range map[string]string{
				"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "save": "", "maxmemory-policy": "noeviction",
			} {
				if got, err := operator.ConfigGet(t.Context(), setting).Result(); err != nil || got[setting] != want {
					t.Errorf("%s is %q (%v), want %q", setting, got[setting], err, want)
				}
			}
			if err := operator.Del(t.Context(), "elsewhere").Err(); err == nil {
				t.Error("the operator may write keys that are no locks")
			}
			nobody := n.client("", "")
			defer nobody.Close()
			if err := nobody.Ping(t.Context()).Err(); err == nil {
				t.Error("a client without a password is served")
			}
			health := n.client("health", "none")
			defer health.Close()
			if err := health.Get(t.Context(), "lock:a").Err(); err == nil || err == redis.Nil {
				t.Error("the user of the health checks may read locks")
			}
		})
	}
}

// What the files make of the nodes leaves the doctor nothing to find but that
// they are on one machine.
func TestNodes_TheDoctorFindsNothing(t *testing.T) {
	deploy := withSecrets(t)
	nodes := five(t, deploy)
	began := time.Now()
	c, err := cluster.Open(t.Context(), config(nodes, "operator", environment(t, deploy)["OPERATOR_PASSWORD"], longTTL))
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	for _, f := range c.Check(t.Context()) {
		if f.Severity > cluster.Note {
			t.Errorf("%s: %v: %s; %s", f.Node, f.Severity, f.Text, f.Fix)
		} else {
			t.Logf("%s: %v: %s", f.Node, f.Severity, f.Text)
		}
	}
}

// A node that restarts has each lock that it had granted, because it votes at
// once. Servers read their append-only file as the default user, and most of
// them drop every transaction from it that this user may not run, such as what a
// script wrote, and say so in their log only.
func TestNodes_KeepTheirLocksOverARestart(t *testing.T) {
	deploy := withSecrets(t)
	nodes := five(t, deploy)
	password := environment(t, deploy)["REDLOCK_PASSWORD"]
	c := opened(t, nodes, password, longTTL)
	harness.Eventually(t, "all nodes to vote", func() bool { return voting(c) == len(nodes) })
	locker, err := lock.New(c, lock.Config{TTL: longTTL})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, locker)
	kept := func(n *node) (all []string) {
		client := n.client("redlock", password)
		defer client.Close()
		for _, key := range []string{"lock:order", "{lock:order}:fence"} {
			value, err := client.Get(t.Context(), key).Result()
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			all = append(all, value)
		}
		return all
	}
	began := time.Now()
	err = locker.WithLock(t.Context(), "order", func(ctx context.Context) error {
		client := nodes[0].client("redlock", password)
		harness.Eventually(t, "the node to have granted it", func() bool { return client.Exists(t.Context(), "lock:order").Val() == 1 })
		client.Close()
		before := kept(nodes[0])
		nodes[0].stop()
		nodes[0].start()
		if after := kept(nodes[0]); !slices.Equal(after, before) {
			t.Errorf("the node had %q, and has %q after a restart", before, after)
		}
		return context.Cause(ctx)
	})
	harness.Must(t, began, err)
}
