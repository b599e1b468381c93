//go:build unix

package fence_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

const (
	holderEnv = "FENCE_TEST_HOLDER"
	lockKey   = "order:42"
	lockTTL   = 2 * time.Second
)

// holder is what a process knows that holds the lock and writes.
type holder struct {
	URLs        []string
	Driver, DSN string
	Fences      fence.SQL
	Data        string
	Unchecked   bool
}

// acquire holds the lock in this process.
func acquire(ctx context.Context, urls []string) (*lease.Lease, func(), error) {
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, NodeTimeout: lockTTL / 4})
	if err != nil {
		return nil, nil, err
	}
	leases, err := lease.New(c, lease.Config{TTL: lockTTL})
	if err != nil {
		return nil, nil, errors.Join(err, c.Close(ctx))
	}
	l, err := leases.Acquire(ctx, lockKey)
	return l, func() {
		leases.Close(context.WithoutCancel(ctx))
		c.Close(context.WithoutCancel(ctx))
	}, err
}

// beHolder is the main function of the process that is stopped. It says that it
// holds the lock, writes when its standard input ends, and says what happened.
func beHolder(what string) int {
	var h holder
	if err := json.Unmarshal([]byte(what), &h); err != nil {
		fmt.Println(err)
		return 1
	}
	sqlDB, err := sql.Open(h.Driver, h.DSN)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	l, _, err := acquire(context.Background(), h.URLs)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("holds", l.Token())
	io.Copy(io.Discard, os.Stdin)

	db, ctx := &database{DB: sqlDB, fences: h.Fences, data: h.Data}, l.Context()
	err = db.once(sql.LevelDefault, func(tx *sql.Tx) error {
		if !h.Unchecked {
			if err := db.fences.Check(ctx, tx, lockKey); err != nil {
				return err
			}
		}
		return db.writeUnchecked(context.WithoutCancel(ctx), tx, l.Token())
	})
	fmt.Println("wrote:", err, errors.Is(err, fence.ErrStale))
	return 0
}

// stopped is a holder's process.
type stopped struct {
	cmd   *exec.Cmd
	in    io.Closer
	lines *bufio.Scanner
	token int64
}

// startHolder returns when the process holds the lock.
func startHolder(t *testing.T, h holder) *stopped {
	t.Helper()
	what, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s := &stopped{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	s.cmd.Env = append(os.Environ(), holderEnv+"="+string(what))
	in, err1 := s.cmd.StdinPipe()
	out, err2 := s.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, s.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	s.in, s.lines = in, bufio.NewScanner(out)
	if said := s.said(); !strings.HasPrefix(said, "holds ") {
		harness.Missed(t, began, "the holder says %q", said)
	}
	fmt.Sscanf(s.lines.Text(), "holds %d", &s.token)
	return s
}

func (s *stopped) said() string {
	s.lines.Scan()
	return s.lines.Text()
}

func (s *stopped) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// A process holds the lock and is stopped for longer than the TTL. Another one
// gets the lock and writes. The first one goes on, and writes.
func TestSQL_StoppedHolder_IsRefused(t *testing.T) {
	nodes, err := embedded.Start(3)
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()
	onEach(t, func(t *testing.T, db *database) {
		for _, unchecked := range []bool{false, true} {
			late := startHolder(t, holder{nodes.URLs(), db.driver, db.dsn, db.fences, db.data, unchecked})
			late.signal(t, syscall.SIGSTOP)
			began := time.Now()
			l, closeLeases, err := acquire(t.Context(), nodes.URLs())
			harness.Must(t, began, err)
			if err := db.once(sql.LevelDefault, func(tx *sql.Tx) error {
				if err := db.fences.Check(l.Context(), tx, lockKey); err != nil {
					return err
				}
				return db.writeUnchecked(t.Context(), tx, l.Token())
			}); err != nil {
				t.Fatal(err)
			}
			closeLeases()
			late.signal(t, syscall.SIGCONT)
			late.in.Close()
			said, w := late.said(), db.writer(t)
			t.Logf("unchecked %t, token %d after %d: %s", unchecked, late.token, l.Token(), said)
			if late.token >= l.Token() {
				t.Fatalf("token %d is followed by %d", late.token, l.Token())
			}
			if !unchecked && (!strings.HasSuffix(said, " true") || w != l.Token()) {
				t.Errorf("the data is %d's; the late holder %s", w, said)
			}
			if unchecked && w != late.token {
				t.Errorf("without the check there is no damage, so the test shows nothing: the data is %d's; the late holder %s", w, said)
			}
		}
	})
}
