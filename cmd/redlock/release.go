package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/venta-hq/redlock/lock"
)

type releaseCmd struct {
	Key string `arg:"" name:"KEY" help:"The key, such as \"order:42\"."`

	lockFlags
	MaxTTL time.Duration `name:"max-ttl" default:"60s" placeholder:"D" help:"cluster.Config.MaxTTL of the programs, if one sets it. Default ${default}."`
	Force  bool          `required:"" help:"Confirm that the lock is taken from its holder."`
	Yes    bool          `short:"y" help:"Do not ask."`
	Now    bool          `help:"Let others acquire the lock at once, although its holder may still work. Only for a holder that is known to be dead."`
	As     string        `placeholder:"LABEL" help:"The label of who takes the lock, which its holder sees. Default: the user's name."`
}

func (releaseCmd) Help() string {
	return `Shows who holds the lock, asks for confirmation, and takes the lock from exactly that holder: if it has changed hands in the meantime, nothing ` +
		`happens.

Nobody can acquire the lock until that holder's TTL is over, ten seconds by default, so there are never two holders. ` +
		`A live holder is notified at its next renewal, within a third of the TTL: its context ends, with a cause that says ` +
		`that the lock was released by force, and by whom. With --now others can acquire the lock at once; a holder that is alive ` +
		`learns of its loss only at its next renewal, and works at the same time as the next one until then, and may keep the lock if few nodes answer its renewals. A holder that uses another library ` +
		`is not notified at all.

No token is used twice: the fence counters stay, and the next holder's token is larger, so storage that checks ` +
		`tokens refuses late writes of the old holder.

  redlock release --force order:42
  redlock release --force --yes --as ann order:42

Exit codes: 0 taken, 1 it has changed hands, may still be acquired, or not confirmed, 3 it is free, 2 bad flags or nodes, 69 too few nodes ` +
		`answered, so that the holder may keep it.`
}

func (r *releaseCmd) Run() error {
	if r.Output == "json" && !r.Yes {
		return misused("--output json: cannot ask for confirmation; add --yes")
	}
	if r.MaxTTL < time.Second {
		return misused("--max-ttl %v: must be at least 1s", r.MaxTTL)
	}
	r.longest = r.MaxTTL
	if u, err := user.Current(); r.As == "" && err == nil {
		r.As = u.Username
	}
	return r.look(r.Prefix, func(ctx context.Context, v *view) error {
		seen, err := v.locker.Inspect(ctx, r.Key)
		if err != nil {
			return err
		}
		if seen.State == lock.Free {
			return failed(exitNobody, fmt.Errorf("%s is free; nothing to release", shown(r.Key)))
		}
		if seen.Left > r.MaxTTL {
			return misused("--max-ttl %v: %s has %v left, so a program has a longer cluster.Config.MaxTTL; give the longest one", r.MaxTTL, shown(r.Key), seen.Left.Round(time.Second))
		}
		if r.Output == "table" {
			printLock(stdout, seen, time.Now())
			fmt.Fprintln(stdout)
		}
		if !r.Yes {
			if err := r.confirm(ctx, seen); err != nil {
				return err
			}
		}
		return r.forceRelease(ctx, v, seen)
	})
}

// confirm asks the user, and names the holder and the effect.
func (r *releaseCmd) confirm(ctx context.Context, seen lock.Inspection) error {
	effect := "Its holder is notified, and others can acquire it when its TTL is over."
	switch {
	case seen.Holder.Writer == lock.WriterShared:
		effect = "They are notified, and others can acquire it when the longest of their TTLs is over."
	case foreign(seen.Holder):
		effect = "Its holder uses another library and is not notified: it continues until it looks at the key. " +
			"Others can acquire it when its TTL is over."
	}
	switch {
	case r.Now:
		effect = "Others can acquire it AT ONCE, even if its holder still works."
		if seen.Holder.Writer == lock.WriterShared {
			effect = "Others can acquire it AT ONCE, even if they still work."
		}
	case seen.Left < 0:
		effect = "Others can acquire it in " + span(r.MaxTTL) + "."
	}
	return confirm(ctx, fmt.Sprintf("Take it away from %s? %s\nType yes: ", shown(takenFrom(seen)), effect))
}

// takenFrom is the holder from which a lock is taken, or its readers.
func takenFrom(seen lock.Inspection) string {
	var each []string
	for _, r := range seen.Readers {
		each = append(each, r.String())
	}
	if len(each) > 0 {
		return holderText(seen) + ": " + strings.Join(each, ", ")
	}
	return seen.Holder.String()
}

// confirm asks a question, and returns an error unless the answer is yes.
func confirm(ctx context.Context, question string) error {
	fmt.Fprint(stdout, question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case line := <-answer:
		if line != "yes" {
			return errors.New("not confirmed; nothing was changed")
		}
		return nil
	case <-ctx.Done():
		fmt.Fprintln(stdout)
		return ctx.Err()
	}
}

// foreign reports whether a lock is held by another library, whose holder is
// not notified.
func foreign(h lock.Holder) bool {
	return h.Writer == lock.WriterRedsync || h.Writer == lock.WriterForeign
}

func (r *releaseCmd) forceRelease(ctx context.Context, v *view, seen lock.Inspection) (err error) {
	freeIn := time.Duration(0)
	if r.Now {
		err = v.locker.ForceReleaseNow(ctx, seen)
	} else {
		freeIn, err = v.locker.ForceRelease(ctx, seen, r.As)
	}
	if err != nil {
		return err
	}
	if r.Output == "json" {
		return printJSON(struct {
			Key      string     `json:"key"`
			From     *holderDoc `json:"from"`
			FreeInMs float64    `json:"free_in_ms"`
		}{r.Key, describeHolder(seen.Holder), ms(freeIn)})
	}
	fmt.Fprintf(stdout, "Taken away from %s. ", shown(takenFrom(seen)))
	if r.Now {
		fmt.Fprintln(stdout, "Others can acquire it now.")
	} else {
		fmt.Fprintf(stdout, "Others can acquire it in %s at most.\n", span(freeIn))
	}
	return nil
}
