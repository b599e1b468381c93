package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/ports"
)

func start(t *testing.T, n int) *embedded.Nodes {
	t.Helper()
	s, err := embedded.Start(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, s *embedded.Nodes, i, protocol int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:                     strings.TrimPrefix(s.URLs()[i], "redis://"),
		Protocol:                 protocol,
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              harness.Patience / 3, // a slow machine is not a dead node
		ReadTimeout:              harness.Patience / 3,
		WriteTimeout:             harness.Patience / 3,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dial opens a bare connection, so that a test decides what is sent when.
func dial(t *testing.T, s *embedded.Nodes, i int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URLs()[i], "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, args ...string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := conn.Write([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
}

func info(t *testing.T, c *redis.Client, sections ...string) map[string]string {
	t.Helper()
	text, err := c.Info(t.Context(), sections...).Result()
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			fields[k] = v
		}
	}
	return fields
}

func uptime(t *testing.T, fields map[string]string) int {
	t.Helper()
	n, err := strconv.Atoi(fields["uptime_in_seconds"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNodes_AreIndependent(t *testing.T) {
	s := start(t, 3)
	if s.Len() != 3 || len(s.URLs()) != 3 {
		t.Fatalf("Len() = %d, URLs() = %v, want 3 nodes", s.Len(), s.URLs())
	}
	runIDs := map[string]bool{}
	for i := range s.Len() {
		c := client(t, s, i, 3)
		if n, err := c.Exists(t.Context(), "key").Result(); err != nil || n != 0 {
			t.Fatalf("node %d: EXISTS = %d, %v, want 0", i, n, err)
		}
		if err := c.Set(t.Context(), "key", i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		runIDs[info(t, c)["run_id"]] = true
	}
	if len(runIDs) != 3 {
		t.Errorf("run_ids %v, want 3 different ones", runIDs)
	}
}

func TestNodes_KeysExpireInRealTime(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	before := time.Now()
	if err := c.Set(t.Context(), "key", 1, 50*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the key to expire", func() bool { return c.Exists(t.Context(), "key").Val() == 0 })
	if after := time.Since(before); after < 50*time.Millisecond {
		t.Errorf("a key of 50 ms was gone after %v", after)
	}
}

func TestNodes_Resume_ExecutesInOrderOfArrival(t *testing.T) {
	s := start(t, 1)
	looker := client(t, s, 0, 3)
	s.Pause(0)
	s.Pause(0) // the second does nothing
	const n = 30
	var want []string
	taken := 0
	for i := range n {
		conn := dial(t, s, 0)
		send(t, conn, "RPUSH", "list", strconv.Itoa(i))
		want = append(want, strconv.Itoa(i))
		taken++
		harness.Eventually(t, "the command to be taken", func() bool { return s.Waiting(0) == taken })
		if i%2 == 0 {
			_ = conn.Close() // a client that gives up
			taken++          // the node counts it, behind the command
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := looker.WithTimeout(20 * time.Millisecond).Ping(ctx).Err(); err == nil {
		t.Error("a paused node answered")
	}
	if got := s.Commands(0)["rpush"]; got != 0 {
		t.Errorf("a paused node executed %d commands", got)
	}
	s.Resume(0)
	s.Resume(0)
	harness.Eventually(t, "everything to be executed", func() bool { return looker.LLen(t.Context(), "list").Val() == n })
	if got := looker.LRange(t.Context(), "list", 0, -1).Val(); !slices.Equal(got, want) {
		t.Errorf("executed in the order %v, want 0 to %d", got, n-1)
	}
}

func TestNodes_ThePipelineOfADisconnectedClientRunsToItsEnd(t *testing.T) {
	s := start(t, 1)
	s.Pause(0)
	conn := dial(t, s, 0)
	const n = 100
	var want []string
	for i := range n {
		send(t, conn, "RPUSH", "list", strconv.Itoa(i))
		want = append(want, strconv.Itoa(i))
	}
	_ = conn.Close()
	harness.Eventually(t, "the node to take it all, and the end", func() bool { return s.Waiting(0) == n+1 })
	s.Resume(0)
	c := client(t, s, 0, 3)
	harness.Eventually(t, "the pipeline to run", func() bool { return c.LLen(t.Context(), "list").Val() == n })
	if got := c.LRange(t.Context(), "list", 0, -1).Val(); !slices.Equal(got, want) {
		t.Errorf("executed in the order %v", got)
	}
}

// Commands that were pipelined keep their place in the order over all
// connections: they are not overtaken by what came after them elsewhere.
func TestNodes_Pause_KeepsTheOrderOfInterleavedPipelines(t *testing.T) {
	s := start(t, 1)
	s.Pause(0)
	conns := []net.Conn{dial(t, s, 0), dial(t, s, 0), dial(t, s, 0)}
	const n = 60
	var want []string
	for i := range n {
		// Runs of several commands on one connection, then another one.
		send(t, conns[i/4%len(conns)], "RPUSH", "list", strconv.Itoa(i))
		want = append(want, strconv.Itoa(i))
		harness.Eventually(t, "the command to be taken", func() bool { return s.Waiting(0) == i+1 })
	}
	s.Resume(0)
	c := client(t, s, 0, 3)
	harness.Eventually(t, "everything to be executed", func() bool { return c.LLen(t.Context(), "list").Val() == n })
	if got := c.LRange(t.Context(), "list", 0, -1).Val(); !slices.Equal(got, want) {
		t.Errorf("executed in the order %v, want 0 to %d", got, n-1)
	}
}

// A frozen process does not take without end from a client that floods it.
func TestNodes_Pause_TakesABoundedAmount(t *testing.T) {
	s := start(t, 1)
	s.Pause(0)
	conn := dial(t, s, 0)
	const n = 100 // of a quarter megabyte each, more than fits into sockets
	value := strings.Repeat("x", embedded.MaxTaken/4)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range n {
			_, _ = fmt.Fprintf(conn, "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%d\r\n%s\r\n", len(value), value)
		}
	}()
	const most = 4 // the fourth goes over the bound and is the last
	harness.Eventually(t, "the node to take what it may", func() bool { return s.Waiting(0) >= most })
	select {
	case <-sent:
		t.Error("the client could send everything to a frozen node")
	case <-time.After(50 * time.Millisecond):
	}
	if got := s.Waiting(0); got != most {
		t.Errorf("the node took %d commands, want %d", got, most)
	}
	s.Resume(0)
	<-sent
	harness.Eventually(t, "everything to be executed", func() bool { return s.Commands(0)["set"] == n })
}

func TestNodes_Stop_LosesWhatAPausedNodeTook(t *testing.T) {
	for _, kill := range []string{"Stop", "Restart"} {
		t.Run(kill, func(t *testing.T) {
			s := start(t, 1)
			s.Pause(0)
			conn := dial(t, s, 0)
			send(t, conn, "SET", "key", "1")
			harness.Eventually(t, "the command to be taken", func() bool { return s.Waiting(0) == 1 })
			if kill == "Stop" {
				s.Stop(0)
			}
			if err := s.Restart(0, false); err != nil {
				t.Fatal(err)
			}
			if got, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				t.Errorf("a killed node answered %q", got)
			}
			if n, err := client(t, s, 0, 3).Exists(t.Context(), "key").Result(); err != nil || n != 0 {
				t.Errorf("EXISTS = %d, %v, want 0: the command was never executed", n, err)
			}
		})
	}
}

func TestNodes_Stop_RefusesConnections(t *testing.T) {
	s := start(t, 2)
	c := client(t, s, 0, 3)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.Stop(0)
	s.Stop(0)
	s.Pause(0)
	s.Resume(0)
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a stopped node answered")
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(s.URLs()[0], "redis://")); err == nil {
		_ = conn.Close()
		t.Error("a stopped node accepted a connection")
	}
	if err := client(t, s, 1, 3).Ping(t.Context()).Err(); err != nil {
		t.Errorf("the other node: %v", err)
	}
	if got := s.Commands(0); len(got) != 0 {
		t.Errorf("Commands of a stopped node = %v, want none", got)
	}
}

func TestNodes_Restart_FromEveryState(t *testing.T) {
	for _, lose := range []bool{false, true} {
		for _, state := range []string{"running", "stopped", "paused"} {
			t.Run(fmt.Sprintf("lose=%t,%s", lose, state), func(t *testing.T) {
				s := start(t, 1)
				url := s.URLs()[0]
				c := client(t, s, 0, 3)
				ctx := t.Context()
				c.Set(ctx, "key", "value", time.Hour)
				c.Set(ctx, "brief", "value", time.Millisecond)
				sha := c.ScriptLoad(ctx, "return 1").Val()
				runID := info(t, c)["run_id"]
				// An uptime to be forgotten.
				s.StartedAt(0, time.Now().Add(-time.Minute))
				if got := uptime(t, info(t, c)); got < 60 {
					t.Fatalf("uptime_in_seconds = %d, want a minute", got)
				}

				switch state {
				case "stopped":
					s.Stop(0)
				case "paused":
					s.Pause(0)
				}
				restarted := time.Now()
				if err := s.Restart(0, lose); err != nil {
					t.Fatal(err)
				}
				if got := s.URLs()[0]; got != url {
					t.Errorf("URL = %s after the restart, %s before", got, url)
				}
				if got := s.Commands(0); len(got) != 0 {
					t.Errorf("Commands = %v, want none after a restart", got)
				}

				c = client(t, s, 0, 3)
				want := map[bool]string{false: "value", true: ""}[lose]
				if got := c.Get(ctx, "key").Val(); got != want {
					t.Errorf("GET key = %q, want %q", got, want)
				}
				harness.Eventually(t, "the brief key to expire", func() bool { return c.Exists(ctx, "brief").Val() == 0 })
				after := info(t, c)
				if after["run_id"] == runID || len(after["run_id"]) != 40 {
					t.Errorf("run_id = %q after the restart, %q before", after["run_id"], runID)
				}
				if got := uptime(t, after); got > int(time.Since(restarted).Seconds()) {
					t.Errorf("uptime_in_seconds = %d, want it to start at 0", got)
				}
				if err := c.EvalSha(ctx, sha, nil).Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
					t.Errorf("EVALSHA = %v, want NOSCRIPT", err)
				}
			})
		}
	}
}

func TestBlockingCommand_LetsOtherClientsPass(t *testing.T) {
	s := start(t, 1)
	if err := s.Restart(0, false); err != nil { // blocking must survive a restart
		t.Fatal(err)
	}
	c := client(t, s, 0, 3)
	popped := make(chan error, 1)
	go func() {
		got, err := c.BLPop(t.Context(), harness.Patience, "list").Result()
		if err == nil && !slices.Equal(got, []string{"list", "x"}) {
			err = fmt.Errorf("popped %v", got)
		}
		popped <- err
	}()
	harness.Eventually(t, "BLPOP to come", func() bool { return s.Commands(0)["blpop"] == 1 })
	if err := c.RPush(t.Context(), "list", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if err := harness.Receive(t, "what was popped", popped); err != nil {
		t.Fatal(err)
	}
}

func TestBlockingCommand_IsWaitedForByTheCommandsBehindIt(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	conn := dial(t, s, 0)
	send(t, conn, "BLPOP", "list", "0")
	send(t, conn, "SET", "key", "after")
	send(t, conn, "QUIT")
	harness.Eventually(t, "BLPOP to come", func() bool { return s.Commands(0)["blpop"] == 1 })
	if n := c.Exists(t.Context(), "key").Val(); n != 0 {
		t.Error("SET overtook the BLPOP before it on its connection")
	}
	c.RPush(t.Context(), "list", "x")
	got, err := io.ReadAll(conn)
	if want := "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+OK\r\n+OK\r\n"; err != nil || string(got) != want {
		t.Errorf("replies %q, %v, want %q", got, err, want)
	}
}

func TestBlockingCommand_OfADisconnectedClientTakesNothing(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	conn := dial(t, s, 0)
	send(t, conn, "BLPOP", "list", "0")
	harness.Eventually(t, "BLPOP to come", func() bool { return s.Commands(0)["blpop"] == 1 })
	_ = conn.Close()
	harness.Eventually(t, "the node to notice", func() bool { return info(t, c)["connected_clients"] == "1" })
	c.RPush(t.Context(), "list", "x")
	if n := c.LLen(t.Context(), "list").Val(); n != 1 {
		t.Errorf("%d elements on the list, want the one that nobody took", n)
	}
}

func TestPubSub_ADisconnectedSubscriberIsRemoved(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	conn := dial(t, s, 0)
	send(t, conn, "SUBSCRIBE", "a", "b")
	send(t, conn, "PSUBSCRIBE", "a*")
	harness.Eventually(t, "the subscriptions", func() bool { return c.Publish(t.Context(), "a", "x").Val() == 2 })
	_ = conn.Close()
	harness.Eventually(t, "the subscriptions to end", func() bool { return c.Publish(t.Context(), "a", "x").Val() == 0 })
}

// A client that sends and never reads costs the others nothing.
func TestConn_AClientThatDoesNotReadDelaysNobody(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	conn := dial(t, s, 0)
	value := strings.Repeat("x", 1<<20)
	if err := c.Set(t.Context(), "key", value, 0).Err(); err != nil {
		t.Fatal(err)
	}
	for range 24 {
		send(t, conn, "GET", "key")
	}
	harness.Eventually(t, "all to be executed", func() bool { return s.Commands(0)["get"] == 24 })
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestConn_ReadsInlineCommandsAndEndsAtBrokenInput(t *testing.T) {
	s := start(t, 1)
	for _, tc := range []struct{ in, want string }{
		{"PING\r\nquit\r\n", "+PONG\r\n+OK\r\n"},
		{"*0\r\n\r\nPING\r\nQUIT\r\n", "+PONG\r\n+OK\r\n"},
		{"PING\r\n*x\r\nPING\r\n", "+PONG\r\n"},
		{"*1\r\n$-1\r\n", ""},
		{"*1\r\n:1\r\n", ""},
	} {
		conn := dial(t, s, 0)
		if _, err := io.WriteString(conn, tc.in); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); string(got) != tc.want {
			t.Errorf("to %q the node answered %q, %v, want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestNodes_Close_EndsABlockedCommand(t *testing.T) {
	s := start(t, 1)
	conn := dial(t, s, 0)
	send(t, conn, "BLPOP", "list", "0")
	harness.Eventually(t, "BLPOP to come", func() bool { return s.Commands(0)["blpop"] == 1 })
	s.Close()
}

func TestPubSub_DeliversMessages(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	ctx := t.Context()
	sub := c.Subscribe(ctx, "channel")
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Publish(ctx, "channel", "hello").Result(); err != nil || n != 1 {
		t.Fatalf("PUBLISH = %d, %v, want 1 receiver", n, err)
	}
	if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "hello" {
		t.Fatalf("received %v, %v", m, err)
	}
	// A script's publish comes through the same gate.
	if n, err := c.Eval(ctx, "return redis.call('PUBLISH', 'channel', 'again')", nil).Int(); err != nil || n != 1 {
		t.Fatalf("PUBLISH in a script = %d, %v, want 1 receiver", n, err)
	}
	if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "again" {
		t.Fatalf("received %v, %v", m, err)
	}
}

func TestTransaction_RunsAsOne(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	var n *redis.IntCmd
	if _, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Incr(t.Context(), "key")
		n = p.Incr(t.Context(), "key")
		return nil
	}); err != nil || n.Val() != 2 {
		t.Fatalf("INCR twice in MULTI = %v, %v, want 2", n, err)
	}
}

func TestNodes_Commands_CountsWhatWasExecuted(t *testing.T) {
	s := start(t, 2)
	c := client(t, s, 0, 3)
	ctx := t.Context()
	script := redis.NewScript("redis.call('SET', KEYS[1], 1) return redis.call('GET', KEYS[1])")
	for range 3 {
		if err := script.Run(ctx, c, []string{"key"}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.Set(ctx, "key", 2, 0)
	c.ConfigGet(ctx, "save")
	c.Do(ctx, "NOSUCH")
	want := map[string]int64{"hello": 1, "evalsha": 3, "eval": 1, "set": 1, "config|get": 1}
	if got := s.Commands(0); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Commands = %v, want %v", got, want)
	}
	if got := s.Commands(1); len(got) != 0 {
		t.Errorf("Commands of a node nobody asked = %v", got)
	}
}

func TestInfo_DescribesTheNode(t *testing.T) {
	began := time.Now()
	s := start(t, 1)
	c := client(t, s, 0, 3)
	before := time.Now().UnixMicro()
	got := info(t, c)
	for field, want := range map[string]string{
		"redis_version": "7.0.0", "redis_mode": "standalone", "loading": "0", "aof_enabled": "0",
		"maxmemory": "0", "maxmemory_policy": "noeviction", "role": "master", "connected_slaves": "0", "connected_clients": "1",
		"total_connections_received": "1",
	} {
		if got[field] != want {
			t.Errorf("%s = %q, want %q", field, got[field], want)
		}
	}
	if up := uptime(t, got); up > int(time.Since(began).Seconds()) {
		t.Errorf("uptime_in_seconds = %d, want the time since the start", up)
	}
	if usec, err := strconv.ParseInt(got["server_time_usec"], 10, 64); err != nil || usec < before || usec > time.Now().UnixMicro() {
		t.Errorf("server_time_usec = %q, want the time of the call", got["server_time_usec"])
	}
	if got := info(t, c, "SERVER"); got["run_id"] == "" || got["role"] != "" {
		t.Errorf("INFO SERVER = %v, want this section only", got)
	}
	if got := info(t, c, "server", "replication"); got["run_id"] == "" || got["role"] != "master" || got["loading"] != "" {
		t.Errorf("INFO server replication = %v, want these two", got)
	}
	if got := info(t, c, "everything"); got["run_id"] == "" || got["loading"] != "0" {
		t.Errorf("INFO everything = %v, want all sections", got)
	}
	if got := info(t, c, "nosuch"); len(got) != 0 {
		t.Errorf("INFO nosuch = %v, want nothing", got)
	}
}

func TestConfigGet_AnswersInBothProtocols(t *testing.T) {
	s := start(t, 1)
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			c := client(t, s, 0, protocol)
			got, err := c.ConfigGet(t.Context(), "maxmemory-policy").Result()
			if err != nil || len(got) != 1 || got["maxmemory-policy"] != "noeviction" {
				t.Errorf("CONFIG GET maxmemory-policy = %v, %v", got, err)
			}
			several := redis.NewMapStringStringCmd(t.Context(), "config", "get", "appendfsync", "APPEND*", "nosuch")
			if err := c.Process(t.Context(), several); err != nil {
				t.Fatal(err)
			}
			if got, want := several.Val(), map[string]string{"appendfsync": "everysec", "appendonly": "no"}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("CONFIG GET of several = %v, want %v", got, want)
			}
			if err := c.ConfigSet(t.Context(), "maxmemory", "1").Err(); err == nil {
				t.Error("CONFIG SET succeeded, want an error: nothing would come of it")
			}
		})
	}
}

func TestClientCommand_SetInfoAndID(t *testing.T) {
	s := start(t, 1)
	c := client(t, s, 0, 3)
	if err := c.Do(t.Context(), "CLIENT", "SETINFO", "LIB-NAME", "x").Err(); err != nil {
		t.Errorf("CLIENT SETINFO: %v", err)
	}
	if id, err := c.ClientID(t.Context()).Result(); err != nil || id < 1 {
		t.Errorf("CLIENT ID = %d, %v, want a positive number", id, err)
	}
}

func TestStart_RefusesBadArguments(t *testing.T) {
	if _, err := embedded.Start(0); err == nil || !strings.Contains(err.Error(), "n is 0") {
		t.Errorf("Start(0) = %v, want an error that names n", err)
	}
	_, err := embedded.StartAt("127.0.0.1:7101", "nonsense", "10.0.0.1:7101", "127.0.0.1:0", "127.0.0.1:07101", "127.0.0.1:7101")
	if err == nil {
		t.Fatal("StartAt succeeded with bad addresses")
	}
	for _, want := range []string{`addrs[1] "nonsense"`, `"10.0.0.1" is not a loopback`, `port "0"`, `port "07101"`, "addrs[5] \"127.0.0.1:7101\" is the address of addrs[0] too"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if _, err := embedded.StartAt(); err == nil {
		t.Error("StartAt() succeeded without addresses")
	}
}

func addressThatWasFree(t *testing.T) string {
	t.Helper()
	l, port, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer ports.Give(port)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestStartAt_LeavesNothingRunningOnError(t *testing.T) {
	occupied, port, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer ports.Give(port)
	defer func() { _ = occupied.Close() }()
	free := addressThatWasFree(t)

	_, err = embedded.StartAt(free, occupied.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "addrs[1]") || !strings.Contains(err.Error(), occupied.Addr().String()) {
		t.Fatalf("StartAt = %v, want an error that names addrs[1]", err)
	}
	s, err := embedded.StartAt(free)
	if err != nil {
		t.Fatalf("the first address was not given back: %v", err)
	}
	defer s.Close()
	if want := "redis://" + free; s.URLs()[0] != want {
		t.Errorf("URL = %s, want %s", s.URLs()[0], want)
	}
}

// Others in this process that look for a free port may come by at any moment, as here all of them do.
func TestNodes_Stop_KeepsTheAddress(t *testing.T) {
	s := start(t, 2)
	named, err := embedded.StartAt(addressThatWasFree(t))
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	mine := map[int]bool{s.Port(0): true, named.Port(0): true}
	s.Stop(0)
	named.Stop(0)
	for range 1 << 16 {
		l, port, err := ports.Take()
		if err != nil {
			break
		}
		_ = l.Close()
		defer ports.Give(port)
		if mine[port] {
			t.Errorf("port %d was given out, and its node may be started again", port)
		}
	}
	closed := map[int]bool{s.Port(0): true, s.Port(1): true}
	s.Close()
	for range 2 {
		l, port, err := ports.Take()
		if err != nil || !closed[port] {
			t.Fatalf("Take = %d, %v, want the port of a node that is closed, and of each once", port, err)
		}
		defer ports.Give(port)
		_ = l.Close()
		closed[port] = false
		s.Close() // it gives back nothing that is somebody else's by now
	}
	if _, port, err := ports.Take(); err == nil {
		t.Errorf("port %d was given out twice", port)
	}
}

func TestNodes_Restart_FailsWhenTheAddressIsTaken(t *testing.T) {
	s := start(t, 1)
	addr := strings.TrimPrefix(s.URLs()[0], "redis://")
	s.Stop(0)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(0, false); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("Restart = %v, want an error that names %s", err, addr)
	}
	_ = l.Close()
	if err := s.Restart(0, false); err != nil {
		t.Errorf("Restart on the free address: %v", err)
	}
}

func TestNodes_Close_EndsThemInEveryState(t *testing.T) {
	s, err := embedded.Start(3)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(0)
	s.Pause(1)
	conn := dial(t, s, 1)
	send(t, conn, "PING")
	harness.Eventually(t, "the command to be taken", func() bool { return s.Waiting(1) == 1 })
	s.Close()
	s.Close()
	s.Stop(1)
	s.Pause(1)
	s.Resume(1)
	if err := s.Restart(1, false); err == nil {
		t.Error("Restart after Close succeeded")
	}
	if len(s.URLs()) != 3 || s.Len() != 3 {
		t.Error("URLs or Len changed on Close")
	}
}

func TestNodes_PanicWhenAnIndexIsOutOfRange(t *testing.T) {
	s := start(t, 2)
	for name, f := range map[string]func(){
		"Stop": func() { s.Stop(2) }, "Pause": func() { s.Pause(-1) }, "Resume": func() { s.Resume(2) },
		"Restart": func() { _ = s.Restart(2, true) }, "Commands": func() { s.Commands(2) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, "the set has 2 nodes") {
					t.Errorf("panic = %q, want one that says how many nodes there are", got)
				}
			}()
			f()
		})
	}
}

func TestNodes_AllowConcurrentUse(t *testing.T) {
	s := start(t, 2)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range s.Len() {
		c := client(t, s, i, 3).WithTimeout(50 * time.Millisecond)
		for range 3 {
			wg.Go(func() {
				for range 50 {
					_ = c.Incr(ctx, "n").Err() // fails while the node is hurt
				}
			})
		}
		wg.Go(func() {
			for range 5 {
				s.Pause(i)
				s.Commands(i)
				s.Resume(i)
			}
		})
		wg.Go(func() {
			for round := range 5 {
				s.Stop(i)
				if err := s.Restart(i, round%2 == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range s.Len() {
		s.Resume(i)
		if err := client(t, s, i, 3).Ping(ctx).Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Errorf("node %d after the storm: %v", i, err)
		}
	}
}
