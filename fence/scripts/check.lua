-- Reply of the command: 'OK'.
return refusal() or {1, 'OK'}
