/**
 * Completion scripts. Each passes the words of the command line to `aviary __complete`, which prints one
 * `value<TAB>description` per line, or `:files` if a file name is expected. Words are passed as arguments and never evaluated.
 */
import { COMPLETE_WORD, FILES_LINE } from "./suggest.ts";

/** Works with bash 3.2, the version of macOS: no `compopt`, no bash-completion package. */
const BASH = `# aviary completion for bash: eval "$(aviary completion bash)"
_aviary() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    # Without a reply bash completes file names.
    [[ $line == "${FILES_LINE}" ]] || COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("\${COMP_WORDS[0]}" ${COMPLETE_WORD} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _aviary aviary
`;

const ZSH = `#compdef aviary
# aviary completion for zsh: eval "$(aviary completion zsh)", after compinit
_aviary() {
  local line
  local -a suggestions
  for line in "\${(@f)$("\${words[1]}" ${COMPLETE_WORD} "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == "${FILES_LINE}" ]]; then
      _files
      return
    fi
    [[ -n $line ]] && suggestions+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe -t aviary aviary suggestions
}
if [[ $funcstack[1] == _aviary ]]; then
  _aviary "$@"
else
  compdef _aviary aviary
fi
`;

const FISH = `# aviary completion for fish: aviary completion fish | source
function __aviary_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l lines ($words[1] ${COMPLETE_WORD} $words[2..-1] "$current" 2>/dev/null)
  if contains -- "${FILES_LINE}" $lines
    __fish_complete_path "$current"
  else
    printf '%s\\n' $lines
  end
end
complete -c aviary -f -a '(__aviary_complete)'
`;

export const COMPLETION_SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;
