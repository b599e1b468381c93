// Command shop is a small service on a set of nodes: a cached user that is
// deleted from the cache when it changes, sessions that every instance knows,
// and an order that one instance processes, under a lock whose fencing token
// the database checks.
//
//	GET  /user/7             from the cache, or loaded once by all instances together
//	PUT  /user/7  Ada        changes the database, then deletes the user from the cache
//	POST /cart/book          into the session, which a cookie names
//	POST /login/7            the session becomes that of a user, under a new id
//	GET  /                   who you are
//	POST /order/42           processes the order, if nobody did
//	POST /logout             ends the session for good
//
//	go -C examples/shop run .
//
// It starts two instances, processes of their own, on in-process nodes, and
// prints what they answer. One is killed in the middle of an order, as by
// kill -9, and the other finishes it: no step is missing and none is done
// twice. A late write of the killed instance is refused.
//
// The database is a temporary SQLite file. SHOP_DATABASE names another: the
// path of a SQLite file, or a postgres:// URL. Its tables shop_users, shop_loads
// and shop_steps are emptied. REDLOCK_NODES names other nodes, separated by
// commas.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/fence"
)

// Names in the environment.
const (
	databaseAt = "SHOP_DATABASE"
	nodesAt    = "REDLOCK_NODES"
	hangAfter  = "SHOP_HANG_AFTER" // of an instance: the step after which it hangs, until it is killed
	asInstance = "SHOP_INSTANCE"
)

// killAt is the step in the middle of an order after which an instance is
// killed.
var killAt = struct{ order, step string }{"42", steps[0]}

func main() {
	run := supervise
	if os.Getenv(asInstance) != "" {
		run = serve
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// serve is an instance. It prints where it listens, and ends with its standard
// input.
func serve(ctx context.Context) error {
	db, err := openDatabase(os.Getenv(databaseAt))
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := newShop(ctx, strings.Split(os.Getenv(nodesAt), ","), db)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	s.performed = func(order, step string) {
		if os.Getenv(hangAfter) == order+" "+step {
			fmt.Println("hangs")
			select {}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return answerUntil(ctx, os.Stdin, &http.Server{Handler: s.handler()}, l)
}

// answerUntil serves until stop ends, and then until the requests that have
// begun are answered. Serve returns as soon as Shutdown begins: an instance that
// ended then would cut them off, and close what they use.
func answerUntil(ctx context.Context, stop io.Reader, server *http.Server, l net.Listener) error {
	down := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, stop)
		ctx, cancel := context.WithTimeout(ctx, patience+time.Second)
		defer cancel()
		down <- server.Shutdown(ctx)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-down
}

// instance is a running one, as the supervisor sees it.
type instance struct {
	name  string
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner // that it prints
}

// start starts an instance with more in its environment.
func start(ctx context.Context, name string, env ...string) (*instance, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(append(os.Environ(), asInstance+"="+name), env...)
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
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		return nil, errors.Join(fmt.Errorf("instance %s did not start: %w", name, cmp.Or(lines.Err(), io.EOF)), cmd.Wait())
	}
	return &instance{name, "http://" + lines.Text(), cmd, stdin, lines}, nil
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

// supervise prepares the database, runs two instances, plays their clients, and
// kills one.
func supervise(ctx context.Context) (err error) {
	urls := os.Getenv(nodesAt)
	if urls == "" {
		nodes, err := embedded.Start(3)
		if err != nil {
			return err
		}
		defer nodes.Close()
		urls = strings.Join(nodes.URLs(), ",")
	}
	dsn := os.Getenv(databaseAt)
	if dsn == "" {
		dir, err := os.MkdirTemp("", "shop-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dsn = filepath.Join(dir, "shop.db")
	}
	db, err := openDatabase(dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.prepare(ctx); err != nil {
		return fmt.Errorf("prepare the database that %s names: %w", databaseAt, err)
	}
	env := []string{nodesAt + "=" + urls, databaseAt + "=" + dsn}
	one, err := start(ctx, "one", append(env, hangAfter+"="+killAt.order+" "+killAt.step)...)
	if err != nil {
		return err
	}
	defer one.stop()
	two, err := start(ctx, "two", env...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, two.stop()) }()
	b, err := newBrowser()
	if err != nil {
		return err
	}
	return errors.Join(cacheUser(ctx, b, db, one, two), keepSession(b, one, two), killInOrder(ctx, b, db, one, two))
}

func cacheUser(ctx context.Context, b *browser, db *database, one, two *instance) error {
	err := errors.Join(
		b.asks(one, "PUT", "/user/7", "Ada"),
		b.asks(one, "GET", "/user/7", ""),
		b.asks(two, "GET", "/user/7", ""),
		b.asks(two, "PUT", "/user/7", "Ada Lovelace"),
		b.asks(one, "GET", "/user/7", ""),
		b.asks(two, "GET", "/user/8", ""))
	n, countErr := db.userLoads(ctx)
	fmt.Println("users loaded from the database:", n)
	return errors.Join(err, countErr)
}

func keepSession(b *browser, one, two *instance) error {
	return errors.Join(
		b.asks(one, "POST", "/order/42", ""),
		b.asks(one, "POST", "/cart/book", ""),
		b.asks(two, "POST", "/cart/pen", ""),
		b.asks(two, "POST", "/login/7", ""),
		b.asks(one, "GET", "/", ""))
}

// killInOrder kills an instance between two steps of an order.
func killInOrder(ctx context.Context, b *browser, db *database, one, two *instance) error {
	cut, hangs := make(chan error, 1), make(chan bool, 1)
	go func() { cut <- b.asks(one, "POST", "/order/"+killAt.order, "") }()
	go func() { hangs <- one.lines.Scan() }()
	select {
	case ok := <-hangs:
		if !ok {
			return errors.New("instance one ended by itself in the middle of the order")
		}
	case err := <-cut:
		return fmt.Errorf("the order ended before the instance could be killed in the middle of it: %v", err)
	}
	one.cmd.Process.Kill()
	if <-cut == nil {
		return errors.New("a killed instance answered")
	}
	fmt.Println("one: killed in the middle of order", killAt.order)
	err := errors.Join(
		b.asks(two, "POST", "/order/42", ""), // waits until the lock of the killed one has expired
		b.asks(two, "POST", "/order/42", ""),
		b.asks(two, "GET", "/", ""),
		b.asks(two, "POST", "/logout", ""),
		b.asks(two, "GET", "/", ""))
	return errors.Join(err, audit(ctx, db))
}

// audit checks how the order was processed, and writes late in the name of the
// killed instance, as if a slow network had held the write back.
func audit(ctx context.Context, db *database) error {
	first, err1 := db.token(ctx, killAt.order, steps[0])
	second, err2 := db.token(ctx, killAt.order, steps[1])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("a step of order %s is missing: %w", killAt.order, err)
	}
	if second <= first {
		return fmt.Errorf("steps were done under tokens %d and %d", first, second)
	}
	late := fence.WithToken(ctx, lockOn(killAt.order), first)
	if _, err := db.perform(late, killAt.order, "ship"); !errors.Is(err, fence.ErrStale) {
		return fmt.Errorf("a late write of the killed instance was not refused: %v", err)
	}
	fmt.Println("order store: each step done once, the second under a newer token; a late write of the killed instance is refused")
	return nil
}
