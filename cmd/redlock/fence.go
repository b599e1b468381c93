package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/fence"
)

// fenceCmd groups the commands for token files.
type fenceCmd struct {
	Check fenceCheckCmd `cmd:"" help:"Check a fencing token, and keep it as the newest of its key."`
}

type fenceCheckCmd struct {
	File  string `arg:"" name:"FILE" help:"The token file. It is created if it does not exist, with FILE.lock beside it."`
	Key   string `arg:"" name:"KEY" help:"The key of the lock; $REDLOCK_KEY under redlock run."`
	Token string `arg:"" name:"TOKEN" help:"The fencing token; $REDLOCK_TOKEN under redlock run."`

	Read bool          `help:"TOKEN is that of a reader, under redlock run --shared or --read: fail only if a newer writer was checked, and refuse older writers from now on."`
	Wait time.Duration `default:"10s" placeholder:"D" help:"How long to wait while other checks lock the file. Default ${default}."`
}

func (fenceCheckCmd) Help() string {
	return `Keeps TOKEN and succeeds unless a newer token of KEY was checked in FILE. In a script that was delayed until ` +
		`its lock had passed to another process, it fails and changes nothing:

  redlock run report -- ./report.sh

with these lines in report.sh, before it replaces what others read:

  redlock fence check /srv/report/fence "$REDLOCK_KEY" "$REDLOCK_TOKEN" || exit
  mv "report.$REDLOCK_TOKEN" report

FILE is in the directory that the jobs share, and every job checks the same. It is replaced by a rename, so a crash leaves it as it was. ` +
		`Between the check and the next line a script can still be stopped: keep that step short.

With --read, a script under redlock run --shared, or for a key of redlock run --read, checks before it reads. Readers do not refuse each other, and writers from before them are stale afterwards. ` +
		`For other keys leave --read out: a script that has checked with it may not write under the same token. ` +
		`If the environment that redlock run gives says that TOKEN is a reader's, a check without --read is refused with 2.

Exit codes: 0 the newest, 77 stale: a newer token was checked before, or a reader's that is as new, 75 other checks locked the file for longer than --wait, ` +
		`1 the file cannot be read or written, 2 bad arguments.`
}

func (r *fenceCheckCmd) Run() error {
	token, err := r.parse()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	file := fence.File{Path: r.File, Timeout: r.Wait}
	check := file.CheckToken
	if r.Read {
		check = file.CheckReadToken
	}
	err = check(ctx, r.Key, token)
	switch {
	case errors.Is(err, fence.ErrStale):
		return failed(exitStale, err)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return failed(exitSignal+int(syscall.SIGINT), nil)
	case errors.Is(err, context.DeadlineExceeded):
		return failed(exitConflict, err)
	}
	return err
}

// parse checks the arguments, and reports all faults at once.
func (r *fenceCheckCmd) parse() (int64, error) {
	var faults []string
	if r.File == "" {
		faults = append(faults, "FILE is empty; give the path of the token file, such as /srv/report/fence")
	}
	if r.Key == "" {
		faults = append(faults, "KEY is empty; give the key of the lock: $REDLOCK_KEY under redlock run")
	}
	token, err := strconv.ParseInt(r.Token, 10, 64)
	if err != nil || token <= 0 || token >= fence.MaxToken {
		faults = append(faults, fmt.Sprintf("TOKEN %q: give a whole number from 1 to %d: $REDLOCK_TOKEN under redlock run", r.Token, int64(fence.MaxToken)-1))
	}
	if err == nil && !r.Read && isReaders(r.Key, token) {
		faults = append(faults, fmt.Sprintf("TOKEN %d is a reader's, as REDLOCK_SHARED says, and a reader must not write %q; give --read, and only read, "+
			"or run without --shared and --read of redlock run to write", token, r.Key))
	}
	if r.Wait <= 0 {
		faults = append(faults, fmt.Sprintf("--wait %v: give a positive duration, such as 10s", r.Wait))
	}
	if len(faults) > 0 {
		return 0, misused("%s", strings.Join(faults, "\n"))
	}
	return token, nil
}
