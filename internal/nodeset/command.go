package nodeset

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Command is a script with its keys and arguments, to be sent to any number of
// nodes. It must not be changed.
type Command struct {
	script *Script // nil for a plain command
	words  []any   // as Redis takes them, for EVALSHA
	last   [2]any  // what stands in the place of the last words, as many as are not nil
	parts  [][]any // of a transaction, which has neither script nor words
}

// yields reports whether the command lets others go first. Plain commands do.
func (c *Command) yields() bool { return c.parts == nil && (c.script == nil || c.script.yields) }

// reads reports whether the command writes nothing. Plain commands on a stream
// do not.
func (c *Command) reads() bool { return c.parts == nil && (c.script == nil || c.script.reads) }

// IsZero reports whether c was never made.
func (c *Command) IsZero() bool { return c.words == nil && c.parts == nil }

// length is how many commands go-redis is given.
func (c *Command) length() int { return max(1, len(c.parts)) }

// wordCount is how many words the command has.
func (c *Command) wordCount() (n int) {
	n = len(c.words)
	for _, part := range c.parts {
		n += len(part)
	}
	return n
}

// With is the command with another last argument.
func (c Command) With(last any) Command {
	c.last = [2]any{last}
	return c
}

// WithTwo is the command with other last two arguments.
func (c Command) WithTwo(lastButOne, last any) Command {
	c.last = [2]any{lastButOne, last}
	return c
}

// redis is the command as go-redis takes it: with the script's hash, or its
// source for a server that does not have it.
func (c Command) redis(bySource bool) *redis.Cmd {
	cmd := new(redis.Cmd)
	c.fill(cmd, nil, bySource)
	return cmd
}

// fill makes cmd the command as go-redis takes it. Words of this command alone
// are put behind those in room, which is returned.
func (c Command) fill(cmd *redis.Cmd, room []any, bySource bool) []any {
	words := c.words
	if bySource || c.last[0] != nil {
		begin := len(room)
		room = append(room, words...)
		words = room[begin:len(room):len(room)]
		c.finish(words)
	}
	if bySource {
		words[0], words[1] = "eval", &c.script.src
	}
	*cmd = *redis.NewCmd(context.Background(), words...)
	if c.script != nil {
		cmd.SetFirstKeyPos(wordsBefore) // where a Redis Cluster finds the key that places the command
	}
	return room
}

// finish puts the last words into their places.
func (c Command) finish(words []any) {
	switch end := len(words); {
	case c.last[1] != nil:
		words[end-2], words[end-1] = c.last[0], c.last[1]
	case c.last[0] != nil:
		words[end-1] = c.last[0]
	}
}

// outcome is the reply to the commands that a call was sent as. MULTI itself
// may have been refused: what followed was executed then, though not as one.
func outcome(sent []*redis.Cmd) (reply any, err error) {
	last := sent[len(sent)-1]
	if last.Err() == nil {
		return last.Val(), nil
	}
	if len(sent) > 1 && answered(last.Err()) {
		for _, cmd := range sent[:len(sent)-1] {
			if cmd.Err() != nil {
				return nil, cmd.Err()
			}
		}
	}
	return nil, last.Err()
}
