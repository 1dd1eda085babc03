/** The parts that pages are made of. */

export { Badge, Dot, SimulatedBadge, type Tone } from "./badge";
export { Button, IconButton } from "./button";
export { CodeBlock, CopyButton } from "./copy";
export { Dialog } from "./dialog";
export { type Option, Segmented, Select, Slider, Switch, TextField } from "./field";
export { Icon, type IconName, Mark } from "./icons";
export { Count } from "./number";
export { Page } from "./page";
export { MenuItem, MenuItems, MenuLink, Popover } from "./popover";
export { ScreenName } from "./screen";
export { EmptyState, ErrorNote, Loading, Note, saysOf, Skeleton } from "./state";
export { type Column, Table } from "./table";
export { toast, Toasts } from "./toast";
export { Tooltip } from "./tooltip";
