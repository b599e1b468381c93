// Command shop is a small service on a set of nodes: a cached user that is deleted from the cache when it changes,
// sessions that every instance knows, and an order that one instance processes, under a lock whose token the order store
// checks.
//
//	GET  /user/7             from the cache, or loaded once by all instances together
//	PUT  /user/7  Ada        changes the database, then deletes the user from the cache
//	POST /cart/book          into the session, which a cookie names
//	POST /login/7            the session becomes that of a user, under a new id
//	GET  /                   who you are
//	POST /order/42           processes the order, if nobody did
//	POST /logout             ends the session for good
//
//	go run ./examples/shop
//
// It starts two instances, processes of their own, on in-process nodes, and shows what they answer. One is killed in the
// middle of an order, as by kill -9, and the other finishes it: no step is missing and none was done twice. REDLOCK_NODES
// names other nodes, separated by commas.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/rpc"
	"os"
	"os/exec"
	"strings"

	"github.com/venta-hq/redlock/embedded"
)

const (
	databaseAt = "SHOP_DATABASE" // in the environment of an instance: where the database listens
	nodesAt    = "REDLOCK_NODES"
)

func main() {
	run := supervise
	if os.Getenv(databaseAt) != "" {
		run = serve
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// serve is an instance. It says where it listens, and ends with its standard input.
func serve(ctx context.Context) error {
	db, err := rpc.Dial("tcp", os.Getenv(databaseAt))
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := newShop(ctx, strings.Split(os.Getenv(nodesAt), ","), db)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler()}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Shutdown(ctx)
	}()
	fmt.Println(l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// instance is a running one, as the supervisor sees it.
type instance struct {
	name  string
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

func start(ctx context.Context, name, urls, database string) (*instance, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), nodesAt+"="+urls, databaseAt+"="+database)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("instance %s did not start: %w", name, err), cmd.Wait())
	}
	return &instance{name, "http://" + strings.TrimSpace(addr), cmd, stdin}, nil
}

// stop has the instance finish what it is at.
func (i *instance) stop() error {
	i.stdin.Close()
	return i.cmd.Wait()
}

// browser is a client with its cookies. It sends them to both instances, as if a load balancer stood before them.
type browser struct{ http.Client }

func newBrowser() (*browser, error) {
	jar, err := cookiejar.New(nil)
	return &browser{http.Client{Jar: jar}}, err
}

// asks sends a request, and prints the answer.
func (b *browser) asks(i *instance, method, path, body string) error {
	r, err := http.NewRequest(method, i.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	w, err := b.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	fmt.Println(i.name+":", strings.TrimSpace(method+" "+path+" "+body), "-", w.StatusCode, strings.TrimSpace(string(text)))
	return err
}

// supervise runs the database and two instances, plays their clients, and kills one.
func supervise(ctx context.Context) error {
	urls := os.Getenv(nodesAt)
	if urls == "" {
		nodes, err := embedded.Start(3)
		if err != nil {
			return err
		}
		defer nodes.Close()
		urls = strings.Join(nodes.URLs(), ",")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	db := newDatabase()
	if err := db.serve(l); err != nil {
		return err
	}
	one, err := start(ctx, "one", urls, l.Addr().String())
	if err != nil {
		return err
	}
	defer one.stop()
	two, err := start(ctx, "two", urls, l.Addr().String())
	if err != nil {
		return err
	}
	defer two.stop()
	b, err := newBrowser()
	if err != nil {
		return err
	}
	return errors.Join(cacheUser(b, db, one, two), keepSession(b, one, two), killInOrder(b, db, one, two))
}

func cacheUser(b *browser, db *Database, one, two *instance) error {
	err := errors.Join(
		b.asks(one, "PUT", "/user/7", "Ada"),
		b.asks(one, "GET", "/user/7", ""),
		b.asks(two, "GET", "/user/7", ""),
		b.asks(two, "PUT", "/user/7", "Ada Lovelace"),
		b.asks(one, "GET", "/user/7", ""),
		b.asks(two, "GET", "/user/8", ""))
	fmt.Println("users loaded from the database:", db.userLoads())
	return err
}

func keepSession(b *browser, one, two *instance) error {
	return errors.Join(
		b.asks(one, "POST", "/order/42", ""),
		b.asks(one, "POST", "/cart/book", ""),
		b.asks(two, "POST", "/cart/pen", ""),
		b.asks(two, "POST", "/login/7", ""),
		b.asks(one, "GET", "/", ""))
}

// killInOrder kills an instance between two steps of an order, before it hears of the first.
func killInOrder(b *browser, db *Database, one, two *instance) error {
	cut := make(chan error, 1)
	go func() { cut <- b.asks(one, "POST", "/order/42", "") }()
	select {
	case <-db.half:
	case err := <-cut:
		return fmt.Errorf("the order ended before the instance could be killed in the middle of it: %v", err)
	}
	one.cmd.Process.Kill()
	if <-cut == nil {
		return errors.New("a killed instance answered")
	}
	close(db.dead)
	fmt.Println("one: killed in the middle of order 42")
	err := errors.Join(
		b.asks(two, "POST", "/order/42", ""), // waits until the lock of the dead has ended
		b.asks(two, "POST", "/order/42", ""),
		b.asks(two, "GET", "/", ""),
		b.asks(two, "POST", "/logout", ""),
		b.asks(two, "GET", "/", ""))
	first, second := db.token(killAt.Order, steps[0]), db.token(killAt.Order, steps[1])
	if first == 0 || second <= first {
		return errors.Join(err, fmt.Errorf("steps were done under tokens %d and %d", first, second))
	}
	// Writes of the first instance that come late, from a slow network.
	late := db.write(Write{killAt.Order, steps[1], first})
	fmt.Println("order store: each step done once, the second under a newer token; a late write of the dead is", late)
	return err
}
